"""Answers to an earlier leadership of the same member, counted: between bare engines, where leaders return.

A whole node ends the session with a peer that it does not hear for an election timeout, and what was under way goes
with it; so the worlds of ``simulate`` have few answers that old. ``networks.Returns`` keeps them back.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from ratified.consensus.paxos.engine import Paxos
from ratified.consensus.paxos.leader import Leader as Proposer
from ratified.consensus.paxos.messages import Accepted, HeartbeatAnswer
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.messages import AppendEntriesResponse, HeartbeatResponse
from tests.mutants.mutant import EngineMutant


def _raft_counts(kind: type[AppendEntriesResponse | HeartbeatResponse]) -> AbstractContextManager[Any]:
    """An answer of an earlier term is taken for one of the present term."""
    right = Raft.on_message

    def on_message(raft: Raft, sender: int, message: Any) -> None:
        if isinstance(message, kind) and message.term < raft.core.term:
            message = replace(message, term=raft.core.term)
        right(raft, sender, message)

    return patch.object(Raft, "on_message", on_message)


def counts_old_append_responses() -> AbstractContextManager[Any]:
    return _raft_counts(AppendEntriesResponse)


def counts_old_heartbeat_responses() -> AbstractContextManager[Any]:
    return _raft_counts(HeartbeatResponse)


def _paxos_counts(kind: type[Accepted | HeartbeatAnswer]) -> AbstractContextManager[Any]:
    """An answer to an earlier ballot of this member is taken for one to its present ballot."""
    right = Paxos.on_message

    def on_message(paxos: Paxos, sender: int, message: Any) -> None:
        own = isinstance(message, kind) and message.ballot[1] == paxos.core.member.id
        if own and isinstance(paxos.role, Proposer) and message.ballot < paxos.role.ballot:
            message = replace(message, ballot=paxos.role.ballot)
        right(paxos, sender, message)

    return patch.object(Paxos, "on_message", on_message)


def counts_old_accepted() -> AbstractContextManager[Any]:
    return _paxos_counts(Accepted)


def counts_old_heartbeat_answers() -> AbstractContextManager[Any]:
    return _paxos_counts(HeartbeatAnswer)


MUTANTS = [
    EngineMutant("counts AppendEntriesResponses of an older term", counts_old_append_responses, "raft", 47),
    EngineMutant("counts HeartbeatResponses of an older term", counts_old_heartbeat_responses, "raft", 210),
    EngineMutant("counts Accepted of an earlier leadership", counts_old_accepted, "paxos", 31),
    EngineMutant("counts heartbeats' answers of an earlier leadership", counts_old_heartbeat_answers, "paxos", 85),
]
