"""A member of a new cluster, from a backup.

All members are restored from the same file, each on its own machine, without asking each other: the cluster's id
follows from the token, the names, the peer URLs and the file's SHA-256. So members that were restored from different
files refuse each other, and so do members of the cluster that the backup is of, whatever names and token are given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from ratified.consensus.contract import NO_ERA
from ratified.kv.store import KvStore
from ratified.machine import load_all
from ratified.node.cluster_table import ClusterTable, new_member
from ratified.restore.directory import NewMember, make
from ratified.storage.identity import Identity, cluster_and_member_ids
from ratified.storage.space import Environment
from ratified.wire.backup import BackupHead, Verified, pieces


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which cluster is to be made, and which member of it."""

    name: str
    members: Mapping[str, Sequence[str]]
    """By name the peer URLs of all members."""
    token: str
    engine: str


def restore(file: BinaryIO, found: Verified, plan: Plan, path: Path, boot_id: bytes) -> Identity:
    """Make the data directory of ``plan.name``.

    Raises ``BackupDamaged`` or ``SnapshotDamaged``, ``DirectoryTaken`` and ``OSError``; then nothing is left.
    """
    member = planned(found, plan, os.urandom(16))

    def fill(environment: Environment, store: KvStore) -> None:
        load_all(store.load_state(member.base.index, NO_ERA), pieces(file), environment.transaction)

    make(path, member, fill, boot_id)
    return member.identity


def planned(found: Verified, plan: Plan, directory: bytes) -> NewMember:
    """The member, its cluster, and where their logs begin: the same on all of them but for the directory id."""
    cluster, ids = cluster_and_member_ids(f"{plan.token}\0{found.sha256}", plan.members)
    rows = {ids[name]: new_member(name, tuple(plan.members[name])) for name in plan.members}
    table = ClusterTable(first_index(found.head), dict(sorted(rows.items())), tuple(sorted(found.head.members)))
    return NewMember(Identity(cluster, ids[plan.name], directory, plan.engine), table)


def first_index(head: BackupHead) -> int:
    """Never 0: a member that joins later must see that it lacks what this log begins with."""
    return max(head.index, 1)
