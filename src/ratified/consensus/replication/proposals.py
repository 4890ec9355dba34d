"""From proposals to entries: the same on every engine."""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Entry, Era, Kind, Membership, Proposal, ProposalId
from ratified.consensus.entry import ENTRY_HEADER_BYTES, encode_configuration, make_entry


def encoded_bytes(proposals: Sequence[Proposal]) -> int:
    """What the entries of these proposals will take."""
    return sum([len(proposal.data) for proposal in proposals]) + ENTRY_HEADER_BYTES * len(proposals)


def commands(proposals: Sequence[Proposal], first: int, era: Era, *, birth: Era | None = None) -> list[Entry]:
    """The proposals as entries of ``era``, from index ``first`` on."""
    return [
        make_entry(index, era, proposal.kind, proposal.id, proposal.data, birth=birth)
        for index, proposal in enumerate(proposals, first)
    ]


def noop(index: int, era: Era, data: bytes = b"", *, birth: Era | None = None) -> Entry:
    """What a leader begins its era with, what fills a gap, and what log leases ask for."""
    return make_entry(index, era, Kind.NOOP, None, data, birth=birth)


def configuration(
    index: int,
    era: Era,
    proposal: ProposalId | None,
    membership: Membership,
    context: bytes,
    *,
    birth: Era | None = None,
) -> Entry:
    """A step of a change: the final configuration has no proposal id."""
    return make_entry(index, era, Kind.MEMBERSHIP, proposal, encode_configuration(membership, context), birth=birth)
