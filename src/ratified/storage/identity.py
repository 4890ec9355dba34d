"""Whose data directory this is: the identity file, its creation, and the directory's lock.

1. The identity file is renamed into place only after the first segment of the log is durable. So an identity without
   a log has lost it, and the node does not start.
2. A log without an identity is a creation that was interrupted, and may be made anew, if it holds the first batch and
   nothing else: a node writes its incarnation before its first frame, so nothing was ever started. Any more, and the
   identity file was lost.
3. The directory id is random (the caller draws it) and also stands in the log's ``node`` records: a log that was
   moved here from another directory is refused.

The identity file: magic (8 bytes), u32 version, u32 CRC32C of everything else in the file, then u64 cluster,
u64 member, 16 bytes directory id, u16 length and the engine's name. The first 16 bytes keep their places in every
version.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import google_crc32c
import msgspec

from ratified.consensus.contract import NO_ERA, U64_MAX, Base, BaseRecord, Membership
from ratified.storage.files import Files
from ratified.storage.format import (
    DIRECTORY_BYTES,
    NEW_SUFFIX,
    LogLimits,
    NodeRecord,
    NodesOwn,
    encode_batch,
    encode_record,
    extent,
    read_header,
    segment_file,
    segment_number,
)

IDENTITY_FILE = "identity"
LOCK_FILE = "lock"
VERSION = 1
FIRST_SEGMENT = 1
FIRST_BATCH = 1
_MAGIC = b"RATIFIED"
_HEAD = struct.Struct("<8sII")
_BODY = struct.Struct("<QQ16sH")
_FILE_BYTES_MAX = 4096


class IdentityError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


class DirectoryLocked(Exception):
    """Another process runs on this data directory."""


class Identity(msgspec.Struct, frozen=True):
    """Which member of which cluster a data directory belongs to."""

    cluster: int
    member: int
    directory: bytes
    """Random, 16 bytes, drawn when the directory was created: a wiped and recreated one is another."""
    engine: str
    version: int = VERSION


# ---------------------------------------------------------------------------------------------------------------
# Reading


def read(files: Files) -> Identity | None:
    """The identity; None: a fresh directory, or one whose creation was interrupted.

    Raises ``IdentityError`` where the file is damaged or newer, and where a log is there that it should name.
    """
    names = files.names()
    if IDENTITY_FILE in names:
        return _decode(files.read(IDENTITY_FILE, 0, _FILE_BYTES_MAX))
    segments = _segments(names)
    if segments and not never_started(files, segments):
        raise IdentityError(
            f"the data directory has a log ({segments[0]}) and no file {IDENTITY_FILE!r}, so it cannot be told whose "
            "log it is. Put the file back, or remove the member from its cluster and add another in its place"
        )
    return None


def check_same(present: Identity, cluster: int, member: int, engine: str) -> None:
    """Raise ``IdentityError`` where the directory belongs to another cluster or member, or runs another engine."""
    if present.engine != engine:
        raise IdentityError(
            f"the data directory belongs to a cluster that runs engine {present.engine}, and this node is configured "
            f"for engine {engine}; an engine is chosen when a cluster is created: configure {present.engine}, or use "
            "an empty directory for a new cluster"
        )
    for what, has, wanted in (
        ("cluster", f"{present.cluster:x}", f"{cluster:x}"),
        ("member", f"{present.member:x}", f"{member:x}"),
    ):
        if has != wanted:
            raise IdentityError(
                f"the data directory belongs to {what} {has} and this node is configured for {what} {wanted}: use the "
                "data directory that belongs to this configuration, or an empty one for a new member"
            )


def never_started(files: Files, segments: Sequence[str]) -> bool:
    """Does the log hold its first batch, as creation wrote it, and nothing that a node would have written?"""
    if list(segments) != [segment_file(FIRST_SEGMENT)]:
        return False
    data = files.read(segments[0], 0, files.size(segments[0]))
    header = read_header(data, 0)
    return (
        header is not None
        and (header.segment, header.number, header.durable_to) == (FIRST_SEGMENT, FIRST_BATCH, 0)
        and not data[extent(header.length) :].strip(b"\0")
    )


def _segments(names: Sequence[str]) -> list[str]:
    return [name for name in names if segment_number(name) is not None]


def _decode(data: bytes) -> Identity:
    if len(data) < _HEAD.size or data[: len(_MAGIC)] != _MAGIC:
        raise _damaged(0, "it does not begin as an identity file does")
    _, version, crc = _HEAD.unpack_from(data)
    if _crc(data) != crc:
        raise _damaged(len(_MAGIC) + 4, "its checksum is wrong")
    if version > VERSION:
        raise IdentityError(
            f"file {IDENTITY_FILE!r} has format version {version} and this program knows versions up to {VERSION}: "
            "start the version that wrote it, or a later one"
        )
    body = data[_HEAD.size :]
    if len(body) < _BODY.size:
        raise _damaged(len(data), "it is too short")
    cluster, member, directory, length = _BODY.unpack_from(body)
    if len(body) != _BODY.size + length:
        raise _damaged(len(data), "its length is wrong")
    try:
        engine = body[_BODY.size :].decode()
    except UnicodeDecodeError as error:
        raise _damaged(_HEAD.size + _BODY.size, "the engine's name is not UTF-8") from error
    return Identity(cluster, member, directory, engine, version)


def _damaged(offset: int, what: str) -> IdentityError:
    return IdentityError(
        f"file {IDENTITY_FILE!r} is damaged at byte {offset}: {what}. Restore it from a backup of this very directory: "
        "without it the member cannot come back; remove it from its cluster and add another in its place"
    )


# ---------------------------------------------------------------------------------------------------------------
# Creation


def create(
    files: Files,
    identity: Identity,
    groups: Mapping[int, Membership | Base],
    limits: LogLimits,
    told: Sequence[NodesOwn] = (),
) -> None:
    """Make a fresh directory this member's: a log with one ``base`` a group, then the identity file.

    A group begins with nothing and a configuration, or behind a base whose state the directory has already in its
    checkpoint. ``told``: what is known of the members already.

    Starts over where an earlier creation was interrupted. Raises ``IdentityError`` where the directory is taken.
    """
    if len(identity.directory) != DIRECTORY_BYTES:
        raise ValueError(f"a directory id has {DIRECTORY_BYTES} bytes, not {len(identity.directory)}")
    if read(files) is not None:
        raise IdentityError(f"the data directory already has a file {IDENTITY_FILE!r}")
    segment = segment_file(FIRST_SEGMENT)
    leftovers = {segment, segment + NEW_SUFFIX, IDENTITY_FILE + NEW_SUFFIX}
    for name in files.names():
        if name in leftovers:
            files.remove(name)
    batch = _first_batch(identity, groups, told)
    _put_in_place(files, segment, batch, max(limits.segment_bytes, len(batch)))
    encoded = _encode(identity)
    _put_in_place(files, IDENTITY_FILE, encoded, len(encoded))


def _put_in_place(files: Files, name: str, data: bytes, length: int) -> None:
    files.create(name + NEW_SUFFIX, length)
    files.write(name + NEW_SUFFIX, 0, data)
    files.sync_data(name + NEW_SUFFIX)
    files.rename(name + NEW_SUFFIX, name)
    files.sync_directory()


def _first_batch(identity: Identity, groups: Mapping[int, Membership | Base], told: Sequence[NodesOwn]) -> bytes:
    records = [encode_record(0, NodeRecord(0, identity.directory))]
    records += [encode_record(0, record) for record in told]
    for group in sorted(groups):
        first = groups[group]
        base = first if isinstance(first, Base) else Base(0, NO_ERA, first)
        records.append(encode_record(group, BaseRecord(base)))
    batch, _ = encode_batch(FIRST_SEGMENT, FIRST_BATCH, 0, 0, b"".join(records))
    return batch


def _encode(identity: Identity) -> bytes:
    name = identity.engine.encode()
    body = _BODY.pack(identity.cluster, identity.member, identity.directory, len(name)) + name
    unchecked = _HEAD.pack(_MAGIC, identity.version, 0) + body
    return _HEAD.pack(_MAGIC, identity.version, _crc(unchecked)) + body


def _crc(data: bytes) -> int:
    return int(google_crc32c.extend(google_crc32c.value(data[: _HEAD.size - 4]), data[_HEAD.size :]))


# ---------------------------------------------------------------------------------------------------------------
# Ids


def cluster_and_member_ids(token: str, members: Mapping[str, Sequence[str]]) -> tuple[int, dict[str, int]]:
    """The cluster's id and each name's member id, from the token, the names and their peer URLs.

    Every node that is started with the same ``--initial-cluster`` and token computes the same.
    """
    described = {name: [name, *sorted(members[name])] for name in sorted(members)}
    cluster = _id("cluster", token, *(word for words in described.values() for word in (str(len(words)), *words)))
    return cluster, {name: _id("member", token, *words) for name, words in described.items()}


def _id(*words: str) -> int:
    """The first 8 bytes of SHA-256 over the words, each after its length; never 0 or 2^64-1, which mean nobody."""
    encoded = b"".join(struct.pack("<I", len(raw)) + raw for raw in (word.encode() for word in words))
    number = int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big")
    return number if 0 < number < U64_MAX else _id(*words, "again")


# ---------------------------------------------------------------------------------------------------------------
# The lock


class Lock:
    """A held lock on a data directory; it also ends with the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have the directory."""
        os.close(self._descriptor)


def lock(path: Path) -> Lock:
    """Lock the data directory for this process; raises ``DirectoryLocked`` where another one has it."""
    descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise DirectoryLocked(
            f"the data directory {path} is in use by another process: stop that one first, or choose another directory"
        ) from error
    return Lock(descriptor)
