"""A data directory of a new cluster, made around a state.

It is made beside its place, in ``NAME.part``, and renamed there when all of it is durable: the store, its checkpoint,
the first segment of the log, and last the identity.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from ratified.consensus.contract import NO_ERA, Base, Membership
from ratified.kv.store import KvStore
from ratified.node.cluster_table import CLUSTER_GROUP, ClusterTable, encode_table
from ratified.storage import checkpoint, identity
from ratified.storage.checkpoint import Claim, Contents
from ratified.storage.files import Directory, perform, sync_directory
from ratified.storage.format import ClusterRecord, LogLimits
from ratified.storage.guard import open_store
from ratified.storage.identity import FIRST_SEGMENT, Identity
from ratified.storage.space import Environment

PART_SUFFIX = ".part"

Fill = Callable[[Environment, KvStore], None]
"""Make this store's state, in transactions of its own."""


class DirectoryTaken(Exception):
    """Something is there already."""


class NewMember(msgspec.Struct, frozen=True):
    """One member of a new cluster, and where its log begins."""

    identity: Identity
    table: ClusterTable
    """Its index is that of the base."""

    @property
    def base(self) -> Base:
        return Base(self.table.index, NO_ERA, Membership(voters=tuple(sorted(self.table.members))))


def check_free(path: Path) -> None:
    """Raise ``DirectoryTaken`` where a directory cannot be made."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise DirectoryTaken(f"{path} is there already: give a directory that is not there, or an empty one")


def make(path: Path, member: NewMember, fill: Fill, boot_id: bytes, copy: Iterable[bytes] = ()) -> None:
    """Make the directory, whose store is ``copy`` before it is filled, or else empty.

    Raises ``DirectoryTaken``, ``OSError``, and what ``fill`` raises; then nothing is left.
    """
    check_free(path)
    part = path.with_name(path.name + PART_SUFFIX)
    shutil.rmtree(part, ignore_errors=True)  # an earlier attempt was interrupted
    part.mkdir(mode=0o700, parents=True)
    try:
        _make_in(part, member, fill, boot_id, copy)
        part.rename(path)
        sync_directory(path.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _make_in(part: Path, member: NewMember, fill: Fill, boot_id: bytes, copy: Iterable[bytes]) -> None:
    files = Directory(part)
    try:
        environment, _ = open_store(part, boot_id, copy=copy, owner=member.identity.directory)
        try:
            store = KvStore(environment.space(CLUSTER_GROUP))
            fill(environment, store)
            with environment.transaction():
                store.begin_anew(member.base.index)
            _checkpoint(files, environment, member)
        except BaseException:
            environment.abandon()
            raise
        environment.close()
        table = ClusterRecord(member.table.index, encode_table(member.table))
        identity.create(files, member.identity, {CLUSTER_GROUP: member.base}, LogLimits(), [table])
    finally:
        files.close()


def _checkpoint(files: Directory, environment: Environment, member: NewMember) -> None:
    copy = environment.copy()
    try:
        claims = {CLUSTER_GROUP: Claim(member.base.index, NO_ERA)}
        directory = member.identity.directory
        contents = Contents(directory=directory, claims=claims, segment=FIRST_SEGMENT, offset=0, length=copy.length)
        for operation in checkpoint.operations(copy, contents):
            perform(files, operation)
    finally:
        copy.close()
