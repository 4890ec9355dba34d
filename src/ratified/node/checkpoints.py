"""When a node copies its store, and up to where a group's log may be cut.

Rules:

1. A checkpoint is begun when the log has grown since the last one by as much as that has copied, and at least by
   ``checkpoint_log_bytes_min``: so copying costs no more than writing the log. (Measured against the store as it is, a
   store that grows with each write would put it off for ever.) One is also begun when a group has applied
   ``checkpoint_entries`` since. One is taken at a time, in a lane of its own: no write of the log waits for it.
2. Stores first write what only memory holds (``Saving``). It claims what the rows have that are committed in the turn
   that begins it, and the copy is of that commit. Of a store that could not save, the rows have what they had.
3. It is not begun where it would leave less room than ``free_bytes_min``. What fails is tried again
   ``checkpoint_retry_us`` later; until then nothing more is cut.
4. What is durable in a member's own checkpoint it tells the others, and again in each new session. A log is cut at
   the lowest of all members' claims: then nobody needs from another what is gone, for who restarts has its checkpoint
   at least. A member that is away, or behind, holds the cut for ``snapshot_catchup_entries`` below the own checkpoint;
   then it is cut without that member, which is sent a snapshot when it is back. It holds nothing where twice as much
   log is below the checkpoint as lets another one begin (rule 1): a group in which nothing happens would else keep that
   of all others.
5. What is cut a majority has in checkpoints, in each half of a joint configuration, and has said so in a session that
   lasts. Where no majority can be reached nothing is cut that all have not claimed. Who is no member any more, or not
   yet, cuts nothing that it lacks itself.
6. A log is cut at an index for which a checkpoint was claimed, the own or another member's: with each index goes the
   era with which its entry was delivered, which nothing else may imply.
7. A member that spoke a version without snapshots when it was met last holds the cut for as long as it takes: nothing
   could be sent to it in place of what is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ratified.consensus.contract import Membership
from ratified.machine import SaveFailed, Store, TidyFirst
from ratified.node.config import NodeConfig
from ratified.node.timers import Timer, Timers
from ratified.storage.checkpoint import Claim, Contents, operations
from ratified.storage.files import Op
from ratified.storage.log import LogPlanner
from ratified.storage.space import Copy, Environment


class Checkpoints:
    """This node's checkpoints: when the next one is due, and what the last one holds."""

    def __init__(
        self,
        config: NodeConfig,
        planner: LogPlanner,
        environment: Environment,
        timers: Timers,
        directory: bytes,
        found: Contents | None,
    ) -> None:
        self._config = config
        self._limits = config.limits
        self._planner = planner
        self._environment = environment
        self._timers = timers
        self._directory = directory
        self._last = found
        self._copy: Copy | None = None
        self._contents: Contents | None = None
        """Of the one that is being taken."""
        self._began_at = 0
        self._look_at = 0
        """How much must have been written before the log can have grown enough."""
        self._entries_due = False
        self._has_nothing = False
        """There was nothing to claim when one was due, and nothing was applied since."""
        self._not_before: int | None = None
        self._free_bytes: int | None = None
        self.holds_much = False
        """When the last one was taken, there was too much log below it that some member may need."""
        self.durable_at: int | None = None
        """When this process has taken its last one."""
        self.took_us = 0

    def has_room(self, free_bytes: int) -> None:
        """So much room is left on the disk."""
        self._free_bytes = free_bytes

    def applied(self, group: int, index: int) -> None:
        """The group has applied its log up to there."""
        self._has_nothing = False
        claim = self._last.claims.get(group) if self._last is not None else None
        if index - (claim.index if claim is not None else 0) >= self._limits.checkpoint_entries:
            self._entries_due = True

    def installed(self) -> None:
        """A group's state came as a snapshot: it is to be in a checkpoint soon, so that its file can go."""
        self._entries_due = True
        self._has_nothing = False

    def put_off(self, now: int) -> None:
        """Something is missing in this one: no other is begun for a while."""
        self._try_later(now)

    def on_time(self) -> None:
        """What failed may be tried again."""
        self._not_before = None

    def is_due(self) -> bool:
        """Should one be begun in this turn?"""
        if self._contents is not None or self._not_before is not None or self._free_bytes is None:
            return False
        if self._has_nothing:
            return False
        return self._entries_due or (self._planner.written_bytes >= self._look_at and self._log_has_grown())

    def begin(self, now: int, claims: Mapping[int, Claim]) -> Iterator[Op] | str | None:
        """What to carry out, beside everything else, for a checkpoint with these claims; or why there is none.

        None: it would hold nothing.
        """
        assert self._free_bytes is not None, "it is due"
        self._entries_due = False
        if not claims:
            self._has_nothing = True
            return None
        size = self._environment.size_bytes
        if self._free_bytes - size < self._limits.free_bytes_min:
            self._try_later(now)
            return (
                f"no checkpoint was taken, and the log grows: the store has {size >> 20} MiB, and a copy of it would "
                f"leave less than {self._limits.free_bytes_min >> 20} MiB on the data directory's disk; free some room "
                "on it"
            )
        try:
            copy = self._environment.copy()
        except OSError as error:
            self._try_later(now)
            return f"no checkpoint was taken, and the log grows: {error}"
        self._copy = copy
        segment, offset = self._planner.position
        self._contents = Contents(
            directory=self._directory, claims=claims, segment=segment, offset=offset, length=copy.length
        )
        self._began_at = now
        return operations(copy, self._contents, self._limits.checkpoint_piece_bytes)

    def done(self, now: int, error: str | None) -> Mapping[int, Claim]:
        """All of it was carried out, or it failed: what is claimed from now on that was not."""
        assert self._copy is not None, "a checkpoint is under way"
        assert self._contents is not None, "a checkpoint is under way"
        contents, self._contents = self._contents, None
        self._copy.close()
        self._copy = None
        if error is not None:
            self._try_later(now)
            return {}
        self._last = contents
        self._look_at = 0
        below = self._planner.size_bytes - self._planner.written_since(contents.segment, contents.offset)
        self.holds_much = below > 2 * self._enough
        self.durable_at, self.took_us = now, now - self._began_at
        return contents.claims

    @property
    def copied_bytes(self) -> int:
        """How much the last one holds."""
        return self._last.length if self._last is not None else 0

    @property
    def _enough(self) -> int:
        """By how much the log grows from one to the next, in bytes."""
        return max(self._limits.checkpoint_log_bytes_min, self.copied_bytes)

    def _log_has_grown(self) -> bool:
        since = (self._last.segment, self._last.offset) if self._last is not None else (0, 0)
        missing = self._enough - self._planner.written_since(*since)
        self._look_at = self._planner.written_bytes + missing
        return missing <= 0

    def _try_later(self, now: int) -> None:
        self._not_before = now + self._limits.checkpoint_retry_us
        self._timers.set(Timer.CHECKPOINT, 0, self._not_before)


CLAIMS_KEPT = 64
"""So many of its own a node remembers; of more, every other one."""


class Saving:
    """Has stores write what only memory holds, before their rows are copied."""

    def __init__(self) -> None:
        self._asked: dict[int, None] = {}

    def ask(self, stores: Mapping[int, Store]) -> tuple[list[int], dict[int, SaveFailed]]:
        """Ask each store once; who has begun, and who has failed."""
        begun: list[int] = []
        failed: dict[int, SaveFailed] = {}
        for group, store in stores.items():
            if group in self._asked:
                continue
            try:
                store.save()
            except TidyFirst:
                continue
            except SaveFailed as error:
                failed[group] = error
            self._asked[group] = None
            if store.saving:
                begun.append(group)
        return begun, failed

    def is_over(self, stores: Mapping[int, Store]) -> bool:
        """Has each one what it could write? Then all are asked again the next time."""
        if any(group not in self._asked or store.saving for group, store in stores.items()):
            return False
        self._asked.clear()
        return True


class Claims:
    """Up to where each member of a group has a durable checkpoint, and where the log may be cut."""

    def __init__(self, member: int, own: Claim | None, catchup_entries: int) -> None:
        self._member = member
        self._catchup_entries = catchup_entries
        self.holds_much = False
        """So much log is kept that who is away holds no more of it (rule 4)."""
        self._latest: dict[int, Claim] = {}
        self._without_snapshots: dict[int, None] = {}
        """Who could not be sent one."""
        self._own: list[Claim] = []
        """Ascending: the present one, and those before it at which the log was not cut."""
        if own is not None:
            self.take(member, own)

    @property
    def own(self) -> Claim | None:
        return self._latest.get(self._member)

    def take(self, member: int, claim: Claim) -> None:
        """A member's claims ascend for as long as its process lives."""
        known = self._latest.get(member)
        if known is not None and claim.index <= known.index:
            return
        self._latest[member] = claim
        if member == self._member:
            self._own.append(claim)
            if len(self._own) > CLAIMS_KEPT:
                del self._own[:-1:2]

    def forget(self, member: int) -> None:
        """It may come back with another data directory."""
        self._latest.pop(member, None)

    def takes_snapshots(self, member: int, *, takes: bool) -> None:
        """Could it be sent a snapshot, when it was met last?"""
        self._without_snapshots.pop(member, None)
        if not takes:
            self._without_snapshots[member] = None

    def cut(self, membership: Membership, most: int | None) -> Claim | None:
        """Where the log may be cut, no higher than ``most``; None: nowhere."""
        lowest = self._lowest((self._member, *_members(membership)))
        if lowest is None or (most is not None and lowest.index > most):
            lowest = None
        without = self._without_some(membership, most)
        found = max((claim for claim in (lowest, without) if claim is not None), key=_index, default=None)
        if found is not None:
            self._own = [claim for claim in self._own if claim.index > found.index]
        return found

    def _lowest(self, members: Iterable[int]) -> Claim | None:
        """What all of them have; None: one has said nothing, or there is nobody yet."""
        claims = [self._latest.get(member) for member in members]
        said = [claim for claim in claims if claim is not None]
        return min(said, key=_index) if said and len(said) == len(claims) else None

    def _without_some(self, membership: Membership, most: int | None) -> Claim | None:
        """Rules 4 and 5: the highest index that was claimed, and that may be cut whatever a minority lacks."""
        own = self.own
        if own is None or not membership.voters:
            return None
        catchup_entries = 0 if self.holds_much else self._catchup_entries
        limit = min(self._most_have(membership.voters), own.index - catchup_entries)
        if membership.outgoing:
            limit = min(limit, self._most_have(membership.outgoing))
        if most is not None:
            limit = min(limit, most)
        for member in _members(membership):
            if member in self._without_snapshots:
                claim = self._latest.get(member)
                limit = min(limit, 0 if claim is None else claim.index)
        known = [*self._own, *self._latest.values()]
        return max((claim for claim in known if claim.index <= limit), key=_index, default=None)

    def _most_have(self, voters: Sequence[int]) -> int:
        """Up to where a majority of them has checkpoints."""
        claims = [self._latest.get(member) for member in voters]
        indexes = sorted(0 if claim is None else claim.index for claim in claims)
        return indexes[(len(indexes) - 1) // 2]


def _index(claim: Claim) -> int:
    return claim.index


def _members(membership: Membership) -> Iterable[int]:
    return (*membership.voters, *membership.outgoing, *membership.learners)
