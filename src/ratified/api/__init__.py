"""What clients speak: etcd v3's services as a plain table of methods.

Rules of this room:

1. ``methods.METHODS`` says every method once: path, request message, kind, handler. A transport needs nothing else.
2. A handler takes bytes and gives bytes: what a request means is ``kv``'s, how it is replicated is ``Host``'s. In
   here are the ways of etcd's protocol only: headers, error codes and texts, streams, ids.
3. A failure that a client may see is an ``ApiError`` with etcd's code and text. Anything else is a defect.
4. Every member serves every request.
"""
