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
5. Of a member that was added to a cluster that runs, a node that has begun holds the directory that the cluster table
   binds, and none before. Such a member was told the others' directories when it joined, and replaces none. It has
   begun when a member that has begun, and has answered at its own address, holds its directory.
6. An engine is fed what comes from a member only while both have begun and hold each other's directories
   (``peers``), and none of its timers expires before. So it needs to know nothing of all this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ratified.node.cluster_log import ClusterLog
from ratified.node.config import NodeConfig
from ratified.storage.format import BegunRecord, PeerRecord


class Directories:
    def __init__(
        self,
        config: NodeConfig,
        cluster: ClusterLog,
        append: Callable[[PeerRecord | BegunRecord], None],
        held: Mapping[int, PeerRecord],
        *,
        begun: bool,
        joins: bool,
    ) -> None:
        """``joins``: this node was added to a cluster that runs, and its log begins with nothing."""
        self.begun = begun
        """Durably: the engines run."""
        self._member, self._own = config.member, config.directory
        self.awaited = tuple(sorted({*cluster.latest.members} - {config.member, *config.absent}))
        """Without whom this node does not begin, if it has not."""
        self._cluster = cluster
        self._append = append
        self._joins = joins
        self.unbound: dict[int, PeerRecord] = {}
        """Of members that were added, the start and the directory with which each has answered at its own address."""
        self._held = dict(held)
        self._written = dict(held)
        """What will be held once the log is durable."""
        self._beginning = begun

    def holds(self, member: int, directory: bytes) -> bool:
        """Is this, durably, the one that counts?"""
        held = self._held.get(member)
        return held is not None and held.directory == directory

    def is_unbound(self, member: int) -> bool:
        """Was it added, and nothing known yet of its directory?"""
        return self._is_settled and self._bound(member) == b"" and member not in self.unbound

    @property
    def _is_settled(self) -> bool:
        """Do the directories that this node holds count for good? Who joins was told them."""
        return self._beginning or self._joins

    @property
    def known(self) -> dict[int, bytes]:
        """What counts of each member that was met, and of this one, durably."""
        return {self._member: self._own, **{member: record.directory for member, record in self._held.items()}}

    def admits(self, member: int, directory: bytes, *, begun: bool) -> bool:
        """May a member with this directory be met? ``begun`` is what it says of itself."""
        if not self._is_settled:
            return True
        bound = self._bound(member)
        if bound is not None:
            return bound in (b"", directory)
        written = self._written.get(member)
        return begun if written is None else directory == written.directory

    def has_met(self, member: int) -> bool:
        return member in self._written

    def meet(self, member: int, directory: bytes) -> None:
        """Take it down, unless it is the one that is held; ``recorded`` says when that is durable."""
        written = self._written.get(member)
        if (written is None or written.directory != directory) and self._may_hold(member, directory):
            self._write(PeerRecord(member, directory))

    def confirm(self, member: int, directory: bytes, incarnation: int, start: int) -> None:
        """This start of it answered at the member's own address: remember that, for our next starts too."""
        record = PeerRecord(member, directory, incarnation, start)
        if not self._may_hold(member, directory):
            self.unbound[member] = record
        elif self._written.get(member) != record:
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
            self._append(BegunRecord())

    @property
    def joins(self) -> bool:
        """It has been added, and waits until its directory is bound."""
        return self._joins and not self._beginning

    def table_changed(self) -> None:
        """Rule 5: what the table binds is held, as the start that has answered with it, if one has."""
        for member, row in self._cluster.latest.members.items():
            written = self._written.get(member)
            if not row.directory or member == self._member or not self._is_settled:
                continue
            if written is None or written.directory != row.directory:
                found = self.unbound.get(member)
                if found is None or found.directory != row.directory:
                    found = PeerRecord(member, row.directory)
                self._write(found)
        self.unbound = {member: found for member, found in self.unbound.items() if self._bound(member) == b""}

    def _bound(self, member: int) -> bytes | None:
        """What the table binds; None: it leaves it to the first start."""
        row = self._cluster.latest.members.get(member)
        return None if row is None else row.directory

    def _may_hold(self, member: int, directory: bytes) -> bool:
        """Where directories are settled, of an added member only what the table binds."""
        return not self._is_settled or self._bound(member) in (None, directory)

    def recorded(self, record: PeerRecord | BegunRecord) -> None:
        """The log holds it."""
        match record:
            case PeerRecord():
                self._held[record.member] = record
            case BegunRecord():
                self.begun = True

    def _write(self, record: PeerRecord) -> None:
        self._written[record.member] = record
        self._append(record)
