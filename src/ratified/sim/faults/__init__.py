"""What goes wrong in a world, by name.

Rules:

1. A fault is one row (``fault.Fault``) in a file here, where ``registry`` finds it. The row says in which scenarios the
   fault happens, at which rates, and what counts it: sweeps and tests take that from there.
2. A fault has a drawn moment, a drawn victim and a drawn end, each on its own key: a further fault moves no other. Half
   of the victims are whoever leads, as far as the checks have seen: that is where faults hurt.
3. When the world heals nothing more is injected, and every fault takes back what still lasts of it.
4. What happened is counted, and a long sweep must have seen it.
"""
