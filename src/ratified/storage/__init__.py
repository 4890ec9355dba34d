"""What is durable: the log planner, the data directory's identity, the LMDB environment and its spaces.

Rules of this package:

1. The planner decides what to write; a port carries it out. Only recovery and the creation of a directory call the
   port synchronously, at start.
2. Every file begins with magic and version. What is newer than this version knows is refused, never guessed at.
3. Torn is what was never acknowledged and may be cut; anything else that does not read is damage and stops the node
   with file, offset and what to do.
4. The log is the truth. The store is rebuilt from it whenever the store may be torn or foreign.
"""
