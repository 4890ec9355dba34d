"""The ``ratified`` command.

Rules of this package:

1. ``main`` puts the commands together; each noun is a module with ``register(app)``. ``connection`` has the options
   of all that ask members, ``output`` how they take and show bytes.
2. What goes wrong is one line on standard error, ``ratified: error: what, where, what to do``, and an exit status: 2
   for a wrong command line, 1 for everything else. A traceback is a defect.
3. Answers go to standard output, as text for people or with ``--json`` as JSON; nothing else goes there.
4. A module imports at its top only what every command needs: ``--help`` and ``put`` must not wait for the simulator.
"""
