"""What a leader takes while the others' disks hang is bounded, whoever asks (rule 10 of the contract).

Judged by samples of the leader's table. Beyond the limit there may be one batch, which a leader with nothing open takes
however large it is, and what leaders append by themselves; and what several leaders in a row took, where none got a
quorum, the next one may have found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratified.check.group import GroupChecks
from ratified.check.oracle import Oracle
from ratified.check.violation import Violation
from ratified.consensus.contract import Proposal
from ratified.consensus.entry import ENTRY_HEADER_BYTES, ENTRY_MEMORY_BYTES, memory_bytes

OWN_ENTRIES = 10
"""No-ops and configurations that a few leaders in a row leave behind, none of which got a quorum."""


class Uncommitted(Oracle):
    def __init__(self, group: GroupChecks[Any]) -> None:
        self._group = group
        self._batch_bytes = 0
        """The largest batch that was taken."""
        self._elections = 0
        self._found_bytes = 0
        """What the present leader held when it was first seen."""

    def taken(self, member: int, proposals: Sequence[Proposal]) -> None:
        encoded_bytes = sum([len(proposal.data) + ENTRY_HEADER_BYTES for proposal in proposals])
        self._batch_bytes = max(self._batch_bytes, memory_bytes(encoded_bytes, len(proposals)))

    def sampled(self, member: int, held_bytes: int, limit_bytes: int) -> None:
        """The member leads, and holds so much that is not committed."""
        if self._elections != self._group.elections:
            self._elections, self._found_bytes = self._group.elections, held_bytes
        most = max(limit_bytes, self._found_bytes) + self._batch_bytes + OWN_ENTRIES * 2 * ENTRY_MEMORY_BYTES
        if held_bytes > most:
            raise Violation(
                "uncommitted",
                f"group {self._group.group}: member {member} leads with {held_bytes} bytes that are not committed; "
                f"the limit of {limit_bytes} admits {most}",
            )
