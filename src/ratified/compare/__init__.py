"""The same load and the same fault on each engine, measured in the simulator."""
