"""When a node copies its store; what that lets groups cut from their logs is in ``claims``.

Rules:

1. A checkpoint is begun when the log has grown since the last one by as much as that has copied, and at least by
   ``checkpoint_log_bytes_min``: so copying costs no more than writing the log. (Measured against the store as it is, a
   store that grows with each write would put it off for ever.) One is also begun when a group has applied
   ``checkpoint_entries`` since. One is taken at a time, in a lane of its own: no write of the log waits for it.
2. Stores first write what only memory holds (``Saving``). It claims what the rows have that are committed in the turn
   that begins it, and the copy is of that commit. Of a store that could not save, the rows have what they had.
3. It is not begun where it would leave less room than ``free_bytes_min``. What fails is tried again
   ``checkpoint_retry_us`` later; until then nothing more is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
