"""Consensus: the contract of an engine, and the engines.

Rules of this package:

1. Nothing here performs I/O, reads a clock, draws from a random source, or imports another package of ours.
2. ``contract`` is all that the other packages know of an engine. Only ``engines`` knows the protocols' names.
3. An engine is driven by one thread: inputs change it, ``ready()`` drains what must leave it.
4. Time is an integer count of microseconds, handed in, never decreasing.
"""
