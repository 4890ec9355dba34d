"""The server process, put together: configuration, the gRPC listener, lifecycle.

Rules of this package:

1. It only connects: what decides is in ``node``, what etcd's methods mean is in ``api``, files and sockets between
   members are in ``runtime``.
2. A bad flag, variable or file is found before anything is opened, and is reported in one line: what, where, what to
   do (``ConfigError``, ``StartFailed``).
3. The listener knows methods only as rows of ``api.methods``: paths, kinds, handlers on bytes. Another transport can
   take its place.
"""
