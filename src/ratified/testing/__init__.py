"""Real processes under faults, as objects: for tests, for ``ratified up`` and ``ratified demo``, and for benchmarks.

Rules of this package:

1. A cluster is an object, and so is each of its nodes: started, killed, paused, stopped by methods, and gone with its
   ``with`` block, or with the process that made it.
2. Every wait has a deadline and none is a sleep for luck: what did not come says so.
3. The moments at which things happen are the machine's, so a run cannot be repeated. Its verdict can be trusted all the
   same, since it is taken from what clients saw.
"""
