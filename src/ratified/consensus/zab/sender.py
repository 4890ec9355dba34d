"""Sending a leader's history and proposals to its followers, within bounds (synchronisation and broadcast).

Everything goes at once and in the order of the history: HISTORY up to the origin, PROPOSE behind it, each as many
entries as a message may hold, as far as the follower's window and the memory reach. What is no longer in memory is
fetched, and sent when it comes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ratified.consensus.contract import Entry
from ratified.consensus.replication.window import fitting
from ratified.consensus.zab import zxid
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.link import Lane
from ratified.consensus.zab.messages import Commit, History, Ping, Propose, UpToDate
from ratified.consensus.zab.progress import PeerProgress, Stage


class ForFollower(msgspec.Struct, frozen=True, gc=False):
    """Entries are fetched to be sent to ``member`` over this link of this session."""

    member: int
    session: int
    link: int


class Sender:
    """What a leader sends in the epoch that it has established."""

    __slots__ = ("_core", "_epoch", "_origin")

    def __init__(self, core: Core, epoch: int, origin: int) -> None:
        self._core = core
        self._epoch = epoch
        self._origin = origin

    def ping(self, member: int, follower: PeerProgress, round_: int, *, rests: bool) -> None:
        """This leader is alive; the answer confirms the read round."""
        core, link = self._core, follower.link
        before = follower.sent_at_ping if core.options.links.is_clear(member) else 0
        follower.sent_at_ping = link.sent(Lane.AT_ONCE)
        core.outbox.send(member, Ping(link.number, link.next(Lane.PING), round_, before, rests))

    def tell_commit(self, member: int, follower: PeerProgress) -> None:
        """UPTODATE once, when the initial history is committed, then COMMIT as far as the follower has been sent."""
        core = self._core
        if core.log.commit < self._origin:
            return
        commit = min(core.log.commit, follower.next - 1)
        committed = zxid.pack(self._epoch, max(commit - self._origin, 0))
        link = follower.link
        if follower.stage is Stage.SYNCHRONISED:
            follower.stage = Stage.UP_TO_DATE
            core.outbox.send(member, UpToDate(link.number, link.next(Lane.AT_ONCE), committed))
        elif follower.stage is Stage.UP_TO_DATE and commit > follower.commit_told:
            core.outbox.send(member, Commit(link.number, link.next(Lane.AT_ONCE), committed))
        else:
            return
        follower.commit_told = commit

    def send(self, member: int, follower: PeerProgress) -> None:
        """Send ahead of the acknowledgements, as far as window and memory reach."""
        log = self._core.log
        while follower.next <= log.last and follower.window.has_room() and self._core.options.links.has_credit(member):
            if follower.next < log.first_in_memory:
                self._fetch_for(member, follower)
                return
            last = log.message_end(follower.next, self._end_of_kind(follower.next))
            self._send_message(
                member, follower, log.entries(follower.next, last), log.bytes_between(follower.next, last)
            )

    def _end_of_kind(self, first: int) -> int:
        """Initial history and proposals do not share a message."""
        return self._origin if first <= self._origin else self._core.log.last

    def _send_message(self, member: int, follower: PeerProgress, entries: Sequence[Entry], size: int) -> None:
        link = follower.link
        seq = link.next(Lane.AT_ONCE)
        first = entries[0].index
        encoded = [entry.encoded for entry in entries]
        if first <= self._origin:
            self._core.outbox.send(member, History(link.number, seq, encoded))
        else:
            first_zxid = zxid.pack(self._epoch, first - self._origin)
            self._core.outbox.send(member, Propose(link.number, seq, first_zxid, encoded))
        follower.sent(entries[-1].index, size)

    def _fetch_for(self, member: int, follower: PeerProgress) -> None:
        core = self._core
        last = follower.next + core.options.limits.entries_per_message_max - 1
        core.outbox.fetch(core.log.missing(follower.next, last), self._purpose(member, follower))

    def _purpose(self, member: int, follower: PeerProgress) -> ForFollower:
        return ForFollower(member, self._core.sessions[member], follower.link.number)

    def on_fetched(self, purpose: ForFollower, follower: PeerProgress, entries: Sequence[Entry]) -> None:
        """Send what was fetched, if it was for this link, as far as it fits; what does not is fetched again."""
        if purpose != self._purpose(purpose.member, follower):
            return
        while entries and follower.next == entries[0].index and follower.window.has_room():
            of_one_kind = entries[: self._end_of_kind(follower.next) - follower.next + 1]
            fit, size = fitting(of_one_kind, self._core.options.limits)
            self._send_message(purpose.member, follower, fit, size)
            entries = entries[len(fit) :]
