"""Which data directory of every member counts, and whether this node has begun. The protocol of *Identity*.

A voter is a member with one directory: votes and acknowledgements count for the pair. A directory that was wiped or
replaced has forgotten both, so it must not vote under the same name.

Rules:

1. A *fresh* node (one that has not begun) records the present directory of every member that it meets, durably,
   before it says anything more to it; it replaces an older one.
2. It begins when it and every other member hold each other's present directories, as their open connections say, and
   each of these starts has answered at its member's own address: else a stranger's directory could be the one that
   counts from then on. Whether the others have begun does not matter. Members that the operator named absent are left
   out. That it has begun is durable before its engines are fed anything.
3. A node that has begun replaces no directory. A member that comes with another one is refused.
4. A log of a version that knew nothing of this has begun if an engine has written to it; such a node records the
   first directory of a member which says that it has begun too.
5. An engine is fed what comes from a member only while both have begun and hold each other's directories
   (``peers``), and none of its timers expires before. So it needs to know nothing of all this.
"""

from __future__ import annotations

from collections.abc import Mapping

from ratified.node.config import NodeConfig
from ratified.storage.format import BegunRecord, PeerRecord
from ratified.storage.log import LogPlanner


class Directories:
    def __init__(self, config: NodeConfig, planner: LogPlanner, held: Mapping[int, PeerRecord], *, begun: bool) -> None:
        self.begun = begun
        """Durably: the engines run."""
        self.own = config.directory
        self.awaited = tuple(sorted({*config.names} - {config.member, *config.absent}))
        """Without whom this node does not begin."""
        self._planner = planner
        self._held = dict(held)
        self._written = dict(held)
        """What will be held once the log is durable."""
        self._beginning = begun

    def holds(self, member: int, directory: bytes) -> bool:
        """Is this, durably, the one that counts?"""
        held = self._held.get(member)
        return held is not None and held.directory == directory

    def admits(self, member: int, directory: bytes, *, begun: bool) -> bool:
        """May a member with this directory be met? ``begun`` is what it says of itself."""
        if not self._beginning:
            return True
        written = self._written.get(member)
        return begun if written is None else directory == written.directory

    def has_met(self, member: int) -> bool:
        return member in self._written

    def meet(self, member: int, directory: bytes) -> None:
        """Take it down, unless it is the one that is held; ``recorded`` says when that is durable."""
        written = self._written.get(member)
        if written is None or written.directory != directory:
            self._write(PeerRecord(member, directory))

    def confirm(self, member: int, directory: bytes, incarnation: int, start: int) -> None:
        """This start of it answered at the member's own address: remember that, for our next starts too."""
        record = PeerRecord(member, directory, incarnation, start)
        if self._written.get(member) != record:
            self._write(record)

    def confirmed(self, member: int, directory: bytes) -> PeerRecord | None:
        """The latest start of this directory that answered at the member's own address."""
        written = self._written.get(member)
        if written is None or written.directory != directory or not written.incarnation:
            return None  # each directory counts its own starts
        return written

    def begin(self) -> None:
        """Every awaited member holds ours, and we hold theirs."""
        if not self._beginning:
            self._beginning = True
            self._planner.append_own(BegunRecord())

    def recorded(self, record: PeerRecord | BegunRecord) -> None:
        """The log holds it."""
        match record:
            case PeerRecord():
                self._held[record.member] = record
            case BegunRecord():
                self.begun = True

    def _write(self, record: PeerRecord) -> None:
        self._written[record.member] = record
        self._planner.append_own(record)
