"""HTTP/2 and gRPC for servers, without a socket: bytes in, calls and bytes out. Imports nothing of ours.

``hpack`` (RFC 7541) and ``huffman``: header blocks. ``requests``: which of them make a request. ``frames`` (RFC 9113,
chapters 4 and 6): what a frame looks like. ``connection``: one connection, its streams and its windows. ``grpc``: calls
and their messages on such a connection. ``answers``: how much may be held for clients that do not take it.
``pace``: which connections are read, where they send more than can be done.
"""
