"""Data directories of new clusters, made from a backup or from what is left of a cluster that has lost its majority.

Rules of this package:

1. What is made is always a *new* cluster: its ids are those of no other, so that members of the old one and of this
   one refuse each other. Ids of the old members never come back in it.
2. What is read is never changed, not by a byte. What is made appears at its place whole, or not at all.
3. A directory begins like one whose log was cut: a ``base`` at the index up to which the state is applied, and a
   checkpoint that holds the state. The base's era is ``NO_ERA``: eras of another cluster say nothing here.
4. Which entries of which survivor count is decided by the protocol (``EngineRow.salvager``), from numbers only;
   reading and writing come after.
"""
