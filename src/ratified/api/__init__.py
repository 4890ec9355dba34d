"""What clients speak: etcd v3's services as a plain table of methods.

Rules of this package:

1. ``methods.METHODS`` says every method once: path, request message, kind, handler. A transport needs nothing else.
2. A request is decoded once here, to be checked and to tell a read from a write, and once where it is applied. Its own
   bytes go into the command or the query; only where something had to be chosen (a lease's id) is it encoded again.
3. An answer is bytes that the store has encoded, with a second header appended: nothing is decoded on the way out.
4. What a request means is ``kv``'s, how it is replicated is ``Host``'s. In here are the ways of etcd's protocol only:
   headers, limits, streams, ids.
5. A failure that a client may see is an ``EtcdError``, with etcd's code and text. Anything else is a defect.
6. Every member serves every request.
"""
