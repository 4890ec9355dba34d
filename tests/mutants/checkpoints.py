"""One rule broken each of when the log is cut, of what a checkpoint claims, and of what a cut log still says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import msgspec

from ratified.consensus.contract import Membership
from ratified.machine_store import SavedMachineStore
from ratified.node.claims import Claims
from ratified.node.node import Node
from ratified.node.replica import Replica
from ratified.storage import checkpoint
from ratified.storage.checkpoint import Claim, Contents
from ratified.storage.files import Op, SyncData
from ratified.storage.log import LogPlanner, _Head, _Writing
from ratified.storage.memory import MemoryCopy, MemoryEnvironment
from ratified.storage.space import Copy
from tests.mutants.mutant import Mutant

SCENARIO = "checkpoints"


def cuts_before_the_checkpoint_is_durable() -> AbstractContextManager[Any]:
    """What a checkpoint will hold is claimed when it is begun."""
    begin = Node._begin_checkpoint

    def claims_at_once(node: Node, now: int) -> Iterator[Op] | None:
        ops = begin(node, now)
        if ops is not None:
            for replica in node._replicas.values():
                if replica.checkpoint is not None and node._touch(replica):
                    replica.checkpointed(now, replica.checkpoint, holds_much=False)
        return ops

    return patch.object(Node, "_begin_checkpoint", claims_at_once)


def claims_what_was_applied_since() -> AbstractContextManager[Any]:
    """A checkpoint is said to hold what is applied when it is durable, not when its copy was begun."""
    checkpointed = Replica.checkpointed

    def claims_more(replica: Replica, now: int, claim: Claim, *, holds_much: bool) -> None:
        checkpointed(replica, now, replica.checkpoint or claim, holds_much=holds_much)

    return patch.object(Replica, "checkpointed", claims_more)


def ignores_the_claims_of_others() -> AbstractContextManager[Any]:
    """The log is cut below what the own checkpoint holds, whatever the others have."""

    def own(claims: Claims, membership: Membership, most: int | None) -> Claim | None:
        return claims.own

    return patch.object(Claims, "cut", own)


def cuts_below_most() -> AbstractContextManager[Any]:
    """The log is cut without who has said nothing."""

    def of_those_who_spoke(claims: Claims, membership: Membership, most: int | None) -> Claim | None:
        return min(claims._latest.values(), key=lambda claim: claim.index, default=None)

    return patch.object(Claims, "cut", of_those_who_spoke)


def syncs_no_copy() -> AbstractContextManager[Any]:
    """The checkpoint gets its name, durably, and its pages are not."""
    operations = checkpoint.operations

    def unsynced(copy: Copy, contents: Contents, piece_bytes: int = checkpoint.PIECE_BYTES) -> Iterator[Op]:
        return (op for op in operations(copy, contents, piece_bytes) if not isinstance(op, SyncData))

    return patch("ratified.node.checkpoints.operations", unsynced)


def copies_what_is_not_committed() -> AbstractContextManager[Any]:
    """A copy has what a long command has done so far."""

    def copy(environment: MemoryEnvironment) -> MemoryCopy:
        return MemoryCopy(msgspec.msgpack.encode({n: space.all_rows() for n, space in environment._spaces.items()}))

    return patch.object(MemoryEnvironment, "copy", copy)


def forgets_the_checkpoint() -> AbstractContextManager[Any]:
    """A store that is discarded begins empty."""
    return patch.object(MemoryEnvironment, "of_copy", classmethod(lambda environment, data: environment()))


def removes_segments_unannounced() -> AbstractContextManager[Any]:
    """Segments go before a cut record says so."""

    def at_once(planner: LogPlanner, writing: _Writing) -> None:
        if writing.rebased:
            needed = [index.oldest_segment for index in planner._indexes.values()]
            oldest = min((each for each in needed if each is not None), default=planner._segment)
            if oldest > planner._announced and oldest >= planner._first_cut:
                planner._announced = planner._cut = oldest

    return patch.object(LogPlanner, "_cut_after", at_once)


def heads_without_states() -> AbstractContextManager[Any]:
    """A segment's head does not say what the engines have promised."""
    encode = _Head.encode

    def stateless(head: _Head) -> bytes:
        states, head._states = head._states, {}
        try:
            return encode(head)
        finally:
            head._states = states

    return patch.object(_Head, "encode", stateless)


def claims_the_present_era() -> AbstractContextManager[Any]:
    """A claim has the era in which it is made, not that of its entry."""
    checkpointed = Replica.checkpointed

    def in_its_own_era(replica: Replica, now: int, claim: Claim, *, holds_much: bool) -> None:
        checkpointed(replica, now, Claim(claim.index, replica.engine.status().era), holds_much=holds_much)

    return patch.object(Replica, "checkpointed", in_its_own_era)


def claims_what_is_only_in_memory() -> AbstractContextManager[Any]:
    """A checkpoint is said to hold what a user's state machine has applied, saved or not."""
    return patch.object(SavedMachineStore, "durable", property(lambda store: (store.applied, store.applied_era)))


def copies_rarely() -> AbstractContextManager[Any]:
    """A log must grow by ten times as much before there is another checkpoint."""
    written = LogPlanner.written_since

    def tenth(planner: LogPlanner, segment: int, offset: int) -> int:
        return written(planner, segment, offset) // 10

    return patch.object(LogPlanner, "written_since", tenth)


def cuts_where_all_had_the_checkpoint_before() -> AbstractContextManager[Any]:
    """What a member says of its checkpoint counts once it has said the next."""
    right = Claims.take
    said: WeakKeyDictionary[Claims, dict[int, Claim]] = WeakKeyDictionary()

    def take(claims: Claims, member: int, claim: Claim) -> None:
        earlier = said.setdefault(claims, {}).get(member, Claim(0, (0, 0)))
        said[claims][member] = claim
        right(claims, member, earlier)

    return patch.object(Claims, "take", take)


def removes_no_segment() -> AbstractContextManager[Any]:
    """What is cut stays on the disk."""
    return patch.object(LogPlanner, "_cut_after", lambda planner, writing: None)


MUTANTS: list[Mutant] = [
    Mutant("copies rarely", copies_rarely, SCENARIO, "session", 3),
    Mutant(
        "cuts where all had the checkpoint before", cuts_where_all_had_the_checkpoint_before, SCENARIO, "session", 3
    ),
    Mutant("removes no segment", removes_no_segment, SCENARIO, "session", 3),
    Mutant("cuts before the checkpoint is durable", cuts_before_the_checkpoint_is_durable, SCENARIO, "session", 2, 300),
    Mutant("claims what was applied since", claims_what_was_applied_since, SCENARIO, "session", 10, 300),
    Mutant("ignores the claims of others", ignores_the_claims_of_others, SCENARIO, "session", 5, 300),
    Mutant("cuts without who has said nothing", cuts_below_most, SCENARIO, "session", 4, 300),
    Mutant("syncs no copy", syncs_no_copy, SCENARIO, "session", 2, 300),
    Mutant("copies what is not committed", copies_what_is_not_committed, SCENARIO, "session", 1, 300),
    Mutant("begins a discarded store empty", forgets_the_checkpoint, SCENARIO, "session", 1, 300),
    Mutant("removes segments before it says so", removes_segments_unannounced, SCENARIO, "session", 3, 300),
    Mutant("begins segments without promises", heads_without_states, SCENARIO, "session", 3, 300),
    Mutant("claims the present era", claims_the_present_era, SCENARIO, "session", 3, 300),
    Mutant(
        "claims of a state machine what is only in memory", claims_what_is_only_in_memory, SCENARIO, "session", 14, 300
    ),
]
