"""Sending a leader's history and proposals to its followers, within bounds (synchronisation and broadcast).

Everything goes at once and in the order of the history: HISTORY up to the origin, PROPOSE behind it, each as many
entries as a message may hold, as far as the follower's window and the memory reach. What is no longer in memory is
fetched, and sent when it comes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Entry
from ratified.consensus.zab import zxid
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.learner import Learner, Stage
from ratified.consensus.zab.link import Lane
from ratified.consensus.zab.messages import Commit, History, Ping, Propose, UpToDate


class Sender:
    """What a leader sends in the epoch that it has established."""

    __slots__ = ("_core", "_epoch", "_origin")

    def __init__(self, core: Core, epoch: int, origin: int) -> None:
        self._core = core
        self._epoch = epoch
        self._origin = origin

    def ping(self, member: int, learner: Learner, round_: int) -> None:
        """This leader is alive; the answer confirms the read round."""
        self._core.send(member, Ping(learner.link.number, learner.link.next(Lane.AT_ONCE), round_))

    def tell_commit(self, member: int, learner: Learner) -> None:
        """UPTODATE once, then COMMIT as far as the follower has been sent."""
        core = self._core
        commit = min(core.commit, learner.next - 1)
        committed = zxid.pack(self._epoch, max(commit - self._origin, 0))
        link = learner.link
        if learner.stage is Stage.SYNCHRONISED:
            learner.stage = Stage.UP_TO_DATE
            core.send(member, UpToDate(link.number, link.next(Lane.AT_ONCE), committed))
        elif learner.stage is Stage.UP_TO_DATE and commit > learner.commit_told:
            core.send(member, Commit(link.number, link.next(Lane.AT_ONCE), committed))
        else:
            return
        learner.commit_told = commit

    def send(self, member: int, learner: Learner) -> None:
        """Send ahead of the acknowledgements, as far as window and memory reach."""
        log, limits = self._core.log, self._core.options.limits
        while learner.next <= log.last and learner.has_room(limits):
            if learner.next < log.first_in_memory:
                self._fetch_for(learner)
                return
            last = min(self._end_of_kind(learner.next), learner.next + limits.entries_per_message_max - 1)
            last = max(learner.next, log.fit(learner.next, last, limits.bytes_per_message_max))
            self._send_message(member, learner, log.entries(learner.next, last))

    def _end_of_kind(self, first: int) -> int:
        """Initial history and proposals do not share a message."""
        return self._origin if first <= self._origin else self._core.log.last

    def _send_message(self, member: int, learner: Learner, entries: Sequence[Entry]) -> None:
        link = learner.link
        seq = link.next(Lane.AT_ONCE)
        first = entries[0].index
        encoded = [entry.encoded for entry in entries]
        if first <= self._origin:
            self._core.send(member, History(link.number, seq, encoded))
        else:
            self._core.send(member, Propose(link.number, seq, zxid.pack(self._epoch, first - self._origin), encoded))
        learner.sent(entries[-1].index, sum([len(each) for each in encoded]))

    def _fetch_for(self, learner: Learner) -> None:
        if learner.fetching is None:
            last = learner.next + self._core.options.limits.entries_per_message_max - 1
            learner.fetching = self._core.fetch(learner.next, min(last, self._core.log.first_in_memory - 1))

    def send_fetched(self, member: int, learner: Learner, entries: Sequence[Entry]) -> None:
        """Send what was fetched, as far as it fits; what does not is fetched again."""
        limits = self._core.options.limits
        start = 0
        while start < len(entries) and learner.next == entries[start].index and learner.has_room(limits):
            size = len(entries[start].encoded)
            end = start + 1
            stop = min(len(entries), start + limits.entries_per_message_max)
            while end < stop and entries[end].index <= self._end_of_kind(learner.next):
                size += len(entries[end].encoded)
                if size > limits.bytes_per_message_max:
                    break
                end += 1
            self._send_message(member, learner, entries[start:end])
            start = end
