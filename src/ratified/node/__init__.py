"""One process of the cluster, sans-IO: the very same object in the simulator and in the server.

Rules of this package:

1. ``Node.offer`` queues an input, ``Node.turn`` takes some of them and gives back what must leave. Nothing else goes
   in or out, and nothing in here reads a clock, a file, a socket or a random source.
2. What depends on a write leaves when the log says that the write is durable.
3. A request ends exactly once: done, refused (nothing of it has happened or will), or unknown. It is one object in one
   table (``requests``), in whatever part of a replica it waits.
4. Timers and peers are served before clients; every queue is bounded, and what does not fit is refused at once.
5. A turn costs nothing for what it does not touch: whoever waits for a time sets a timer (``timers``), and a group that
   has more to do at once says so (``Replica.again``); no turn looks for either.
6. No protocol is named here: an engine comes as a row of the table.
"""
