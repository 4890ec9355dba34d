"""A group in which nothing happens rests until something does: nobody keeps time for it (rule 11 of the contract).

Rules of this file. ``tests/models/rest.py`` has a run for each part of 3 and 4 without which somebody waits for ever:

1. A leader rests at a heartbeat where nothing was asked of it since the one before, and every peer in session, a quorum
   with this member, has everything. That heartbeat says so; whoever rests with it says nothing, and whoever cannot
   answers as ever. No lease is asked for with it: what is granted is an answer.
2. A leader wakes by any input but a completion of its own disk or store; so by an answer to that heartbeat, of whoever
   does not rest, or does not know what resting is. It counts everybody's silence from then on.
3. A member rests with its leader for as long as their session lasts. To it that the leader is heard means just that
   (rule 14). A session that takes another one's place wakes it as much as the end of one: what the leader has said
   meanwhile may have been lost.
4. A leader that is deposed tells those that may rest with it, unless all have had a heartbeat since.
5. So what is said in a session arrives, or the session ends; whoever is not heard in one loses it (``node/peers``), and
   so does who says nothing more in a group for good (``Node``).
"""

from __future__ import annotations

from typing import Any, Protocol

from ratified.consensus.replication.liveness import Liveness
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.reads import ReadRounds


class Leading(Protocol):
    """What decides whether a leader may rest: of any protocol."""

    @property
    def liveness(self) -> Liveness: ...

    @property
    def reads(self) -> ReadRounds: ...

    @property
    def serving(self) -> bool: ...

    @property
    def is_settled(self) -> bool: ...

    def has_everything(self, member: int) -> bool: ...


class Rest:
    """When a leader and its group may rest."""

    __slots__ = ("_idle", "_member")

    def __init__(self, member: Member[Any]) -> None:
        self._member = member
        self._idle = False
        """Nothing was asked since the latest heartbeat."""

    def asked(self, leading: Leading | None) -> None:
        """A client, an operator or a session wants something of this member: it does not rest in the next heartbeat."""
        self._idle = False
        self.wake(leading)

    def wake(self, leading: Leading | None) -> None:
        """A message came, and nobody who rests sends one: heartbeats go on, and may say so again at once."""
        if leading is not None and leading.liveness.rests:
            leading.liveness.wake()

    def on_heartbeat_due(self, leading: Leading) -> None:
        if self._idle and self._member.may_rest and self._may_begin(leading):
            leading.liveness.rest()
        self._idle = True

    def _may_begin(self, leading: Leading) -> bool:
        member = self._member
        disk_is_free = not member.disk_is_full and member.writes.waiting_since is None
        if not (disk_is_free and leading.serving and leading.is_settled) or len(leading.reads):
            return False
        peers = [peer for peer in member.configurations.peers if peer in member.sessions]
        return member.configurations.is_quorum([member.id, *peers]) and all(map(leading.has_everything, peers))
