"""What the answers of one group's key-value store are held against, whoever got them."""

from __future__ import annotations

from ratified.check.batches import Batches
from ratified.check.revisions import Revisions
from ratified.check.states import States
from ratified.check.watches import Watches

BATCH_KEYS = 10
"""Of each batch that a ``BatchWriter`` writes."""


class Answers:
    def __init__(self, group: int) -> None:
        self.batches = Batches(group, BATCH_KEYS)
        self.revisions = Revisions(group)
        self.watches = Watches(group)
        self.states = States(group, self.watches)
        """Of the registers."""
        self.batch_states = States(group, self.watches)
