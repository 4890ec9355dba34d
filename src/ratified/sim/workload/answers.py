"""What the answers of one group's key-value store are held against, whoever got them."""

from __future__ import annotations

from ratified.check.revisions import Revisions
from ratified.check.states import States
from ratified.check.watches import Watches


class Answers:
    def __init__(self, group: int) -> None:
        self.revisions = Revisions(group)
        self.watches = Watches(group)
        self.states = States(group, self.watches)
