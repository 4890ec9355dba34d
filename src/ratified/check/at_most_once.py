"""*At most once*: of all ids under which one client's request was proposed, at most one is delivered, at one index, and
none if the request ended as refused. No id is delivered twice, and none under whose request another one was taken: it
was called *lost* (rule 7 of the contract)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ratified.check.group import GroupChecks
from ratified.check.oracle import Oracle
from ratified.check.violation import Violation
from ratified.consensus.contract import Entry, Kind, Proposal, ProposalId, Ready


class AtMostOnce(Oracle):
    def __init__(self, group: GroupChecks[Any]) -> None:
        self.delivered: dict[bytes, int] = {}
        """Where each client's command was delivered."""
        self._group = group
        self._judged = 0
        self._asked: set[bytes] = set()
        self._refused: set[bytes] = set()
        self._ids: dict[ProposalId, int] = {}
        self._first_ids: dict[bytes, ProposalId] = {}
        """Under which id a client's request was taken first."""
        self._latest_ids: dict[bytes, ProposalId] = {}
        self._lost: set[ProposalId] = set()
        """In whose place another id was taken; only asked for membership."""

    def requested(self, command: bytes) -> None:
        """A client asks for this command, which no other request equals."""
        assert command not in self._asked, "a client's commands are told apart by their bytes"
        self._asked.add(command)

    def taken(self, member: int, proposals: Sequence[Proposal]) -> None:
        for proposal in proposals:
            if proposal.data not in self._asked:
                continue
            if self._first_ids.setdefault(proposal.data, proposal.id) != proposal.id:
                self._group.counters["requests proposed again"] += 1
            known = self._latest_ids.get(proposal.data, proposal.id)
            if known != proposal.id:
                # A deposed leader may take the earlier one after the later one was taken elsewhere.
                earlier, known = sorted((known, proposal.id), key=lambda id: (id.incarnation, id.sequence))
                self._call_lost(earlier)
            self._latest_ids[proposal.data] = known

    def _call_lost(self, id: ProposalId) -> None:
        self._lost.add(id)
        if id in self._ids:
            raise self._broken(f"proposal {id} was delivered at {self._ids[id]}, and called lost")

    def ready(self, member: int, ready: Ready) -> None:
        for entry in ready.deliver:
            if entry.index > self._judged:
                self._judged = entry.index
                if entry.kind in (Kind.COMMAND, Kind.NODE):
                    self._once(entry)

    def _once(self, entry: Entry) -> None:
        index, command = entry.index, entry.data
        if entry.proposal is not None:
            if entry.proposal in self._lost:
                raise self._broken(f"proposal {entry.proposal} was called lost and is delivered at {index}")
            known = self._ids.setdefault(entry.proposal, index)
            if known != index:
                raise self._broken(f"proposal {entry.proposal} was delivered at {known} and at {index}")
        if command in self._asked:
            known = self.delivered.setdefault(command, index)
            if known != index:
                raise self._broken(f"one client's request was delivered at {known} and at {index}")
            if command in self._refused:
                raise self._broken(f"a request that was refused is delivered at {index}")

    def refused(self, command: bytes) -> None:
        """The request ended as refused: nothing of it has happened or will."""
        self._refused.add(command)
        index = self.delivered.get(command)
        if index is not None:
            raise self._broken(f"a request that was delivered at {index} was answered as refused")

    def done(self, command: bytes) -> None:
        """The request ended as done."""
        if command not in self.delivered:
            raise self._group.violation("delivery", "a request was answered as done before it was delivered anywhere")

    def _broken(self, seen: str) -> Violation:
        return self._group.violation("at most once", seen)
