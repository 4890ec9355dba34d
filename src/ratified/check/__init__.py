"""Oracles: what must hold in every run, checked on what leaves the nodes.

Rules of this package:

1. A check reads Readys, messages that leave, the simulated disks, digests and client histories. It never asks an
   engine for its opinion, and believes nothing that a replica says of itself.
2. Each check costs O(1) a step; only what a restart or the end of a run needs may look at a whole log or history.
3. A broken rule raises ``Violation`` at the step that broke it, with what, where and when.
4. Only ``<protocol>.py`` knows its protocol, and only ``protocols.py`` knows which there are.
5. Hashes in here are compared within one run and never leave it.
"""
