"""May whoever sent a Hello be met, and if not, why? The answers are sentences for the operators of both sides.

Rules:

1. Two nodes *fit* if cluster, engine and protocol versions do, if the other is another member of this cluster, and if
   it comes with the directory that counts (``directories``).
2. A start is *overtaken* by a later one of the same directory that has answered at the member's own address. So is an
   old copy of the directory, however often it has started since: its Hello lists other starts before its own, or none,
   where the confirmed one must stand.
"""

from __future__ import annotations

from ratified.node.cluster_log import ClusterLog
from ratified.node.directories import Directories
from ratified.storage.format import PeerRecord
from ratified.wire.peer import Hello


class Admission:
    def __init__(self, cluster: ClusterLog, ours: Hello, directories: Directories) -> None:
        self._cluster = cluster
        self._ours = ours
        self._directories = directories

    def why_not(self, hello: Hello, dialled: int | None) -> str | None:
        """What keeps the two apart; None: nothing. ``dialled``: the member at whose address it answered, if we did."""
        reason = self.why_unfit(hello)
        if reason is None and dialled is not None and hello.member != dialled:
            return f"member {hello.member:x} answers at the address of member {self.called(dialled)}"
        return reason or self.why_overtaken(hello)

    def why_unfit(self, hello: Hello) -> str | None:
        ours = self._ours
        if hello.cluster != ours.cluster:
            return f"cluster {hello.cluster:x} is not cluster {ours.cluster:x}; check --initial-cluster and its token"
        if hello.member == ours.member:
            return f"member {hello.member:x} is this node's own id; two nodes must not have the same identity"
        if self.has_left(hello):
            return f"member {hello.member:x} was removed from this cluster; its data directory is of no use any more"
        if hello.member not in self._cluster.latest.members:
            return f"member {hello.member:x} is not a member of this cluster"
        if hello.engine != ours.engine:
            return f"engine {hello.engine} is not engine {ours.engine}; all members must run the same"
        if hello.version_min > ours.version_max or hello.version_max < ours.version_min:
            return (
                f"protocol versions {hello.version_min} to {hello.version_max} and {ours.version_min} to "
                f"{ours.version_max} have none in common; upgrade the older node"
            )
        return self._why_another_directory(hello)

    def has_left(self, hello: Hello) -> bool:
        """Was this a member of our cluster?"""
        return hello.cluster == self._ours.cluster and hello.member in self._cluster.latest.left

    def _why_another_directory(self, hello: Hello) -> str | None:
        if self._directories.admits(hello.member, hello.directory, begun=hello.begun):
            return None
        member = self.called(hello.member)
        if not self._directories.has_met(hello.member):
            return (
                f"member {member} was absent when this cluster began, and is not let in later; remove it and add "
                "another in its place"
            )
        return (
            f"member {member} comes with another data directory than the one that the cluster counts. If its disk was "
            "wiped or replaced it has forgotten what it voted for and acknowledged, and must not vote under its old "
            "name. Start it with its own data directory, or remove this member and add another in its place"
        )

    def why_overtaken(self, hello: Hello) -> str | None:
        known = self._directories.confirmed(hello.member, hello.directory)
        if known is None:
            return None
        member = self.called(hello.member)
        if hello.incarnation < known.incarnation:
            return (
                f"incarnation {hello.incarnation} of member {member} was overtaken by {known.incarnation}; an old copy "
                "of its data directory must not run"
            )
        if hello.incarnation == known.incarnation and hello.start != known.start:
            return (
                f"incarnation {hello.incarnation} of member {member} runs twice; a copy of its data directory must "
                "not run"
            )
        between = hello.incarnation - known.incarnation
        if 0 < between <= len(hello.starts_before) and hello.starts_before[between - 1] != known.start:
            return (
                f"the data directory of member {member} knows nothing of the start with incarnation "
                f"{known.incarnation} that was met here; an old copy of it must not run"
            )
        return None

    def is_confirmed(self, hello: Hello) -> bool:
        """Has this start answered at the member's own address?"""
        confirmed = self._directories.confirmed(hello.member, hello.directory)
        return confirmed is not None and is_start(confirmed, hello)

    def called(self, member: int) -> str:
        """The member's name and id, for people."""
        row = self._cluster.latest.members.get(member)
        return f"{row.name} ({member:x})" if row is not None and row.name else f"{member:x}"


def is_start(one: Hello | PeerRecord, other: Hello) -> bool:
    """Are both the same start of the same directory?"""
    return (one.directory, one.incarnation, one.start) == (other.directory, other.incarnation, other.start)
