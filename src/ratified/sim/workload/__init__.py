"""What clients of all kinds ask of a cluster, and what their answers are held against.

Rules:

1. A client has one request under way. When that has ended, in whatever way, it waits for a drawn time and goes on, at a
   drawn node; one that finds no process there tries another.
2. Every write's bytes are told apart from all others', so that the checks can say at most once.
3. How a request ended goes into the history as it is: done with its answer; refused, so that it never happened; or
   unknown, so that it stays open for ever: also where the process is gone, the client gave up, or nobody answered.
4. A kind of clients is a file here and some lines in ``workload``, where their numbers are given out.
"""
