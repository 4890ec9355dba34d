"""What a leader holds that is not committed, by samples."""

from collections import Counter
from typing import Any

import pytest

from ratified.check.group import GroupChecks
from ratified.check.protocols import PROTOCOLS
from ratified.check.uncommitted import OWN_ENTRIES, Uncommitted
from ratified.check.violation import Violation
from ratified.consensus.contract import Membership, Proposal, ProposalId
from ratified.consensus.entry import ENTRY_HEADER_BYTES, ENTRY_MEMORY_BYTES

OWN_BYTES = OWN_ENTRIES * 2 * ENTRY_MEMORY_BYTES
BATCH_BYTES = 2 * (100 + ENTRY_HEADER_BYTES) + ENTRY_MEMORY_BYTES


def oracle() -> tuple[GroupChecks[Any], Uncommitted]:
    group: GroupChecks[Any] = GroupChecks(0, Membership((1, 2, 3)), Counter(), PROTOCOLS["raft"].shape(Counter()))
    return group, Uncommitted(group)


def test_more_than_the_limit_and_one_batch_is_rejected() -> None:
    _, uncommitted = oracle()
    uncommitted.taken(1, [Proposal(ProposalId(1, 1, 1), bytes(100))])
    uncommitted.sampled(1, 0, 1_000)
    uncommitted.sampled(1, 1_000 + BATCH_BYTES + OWN_BYTES, 1_000)
    with pytest.raises(Violation, match="uncommitted"):
        uncommitted.sampled(1, 1_001 + BATCH_BYTES + OWN_BYTES, 1_000)


def test_what_a_new_leader_found_may_be_more() -> None:
    group, uncommitted = oracle()
    uncommitted.sampled(1, 0, 1_000)
    group.elections += 1
    uncommitted.sampled(2, 50_000, 1_000)
    uncommitted.sampled(2, 50_000, 1_000)
