"""The table of the protocols that the textbook cases are published for."""

from __future__ import annotations

from ratified.lab.paxos import PAXOS
from ratified.lab.raft import RAFT
from ratified.lab.textbook import Protocol
from ratified.lab.zab import ZAB

TEXTBOOKS: dict[str, Protocol] = {"raft": RAFT, "paxos": PAXOS, "zab": ZAB}
