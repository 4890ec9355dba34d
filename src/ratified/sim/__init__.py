"""The simulator: whole nodes under virtual time, a simulated network, simulated disks, and faults.

Rules of this package:

1. Nodes are the production objects, started by ``node.boot``. Nothing in them knows that it is simulated; what the
   checks need is seen on what leaves a node and on its disk.
2. Time is integer microseconds. One heap orders everything by (time, tie, sender, sequence); the tie is drawn, so that
   simultaneous events really run in every order.
3. Every draw is keyed by what it is for: one message more on one link moves no other draw, and turning a fault on does
   not reshuffle the rest.
4. A run is a function of its arguments: no clock, no ``random``, no order of a set. Trace and reports change nothing.
5. A broken rule ends the run as a ``Violation``; everything that a run found is in its ``Report``.
"""
