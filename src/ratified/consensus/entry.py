"""The one encoding of entries and memberships, for the log and for peers alike.

An entry is 53 bytes, little-endian, and then its data: u64 index, u64 and u64 era, u8 kind, u64 origin,
u64 incarnation, u64 sequence, u32 length of data. Incarnation 0 says that the entry has no proposal id. Where the
value's birth is said too, 128 is added to the kind and u64 and u64 birth stand between the 53 bytes and the data.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from ratified.consensus.contract import Change, Entry, Era, Kind, Membership, ProposalId

_HEADER = struct.Struct("<QQQBQQQI")
ENTRY_HEADER_BYTES = _HEADER.size
_BIRTH = struct.Struct("<QQ")
_BORN = 0x80
"""Added to the kind where the birth follows."""
_KINDS = tuple(Kind)
_U32 = struct.Struct("<I")


ENTRY_MEMORY_BYTES = 256
"""What an entry takes in memory beside its encoding and its data: its objects, and its places in tables."""


def memory_bytes(encoded_bytes: int, count: int) -> int:
    """What ``count`` entries of so many encoded bytes take in memory: each holds its data twice, alone and encoded."""
    return 2 * encoded_bytes + count * ENTRY_MEMORY_BYTES


class EntryFormatError(ValueError):
    """Bytes that are no entry or no membership; the message says what is wrong with them."""


def make_entry(
    index: int, era: Era, kind: Kind, proposal: ProposalId | None, data: bytes, *, birth: Era | None = None
) -> Entry:
    """Build an entry together with its encoding."""
    origin, incarnation, sequence = (
        (proposal.origin, proposal.incarnation, proposal.sequence) if proposal is not None else (0, 0, 0)
    )
    if birth is None:
        header = _HEADER.pack(index, era[0], era[1], kind, origin, incarnation, sequence, len(data))
        return Entry(index, era, kind, proposal, data, header + data)
    header = _HEADER.pack(index, era[0], era[1], kind | _BORN, origin, incarnation, sequence, len(data))
    return Entry(index, era, kind, proposal, data, b"".join((header, _BIRTH.pack(*birth), data)), birth)


def decode_entry(encoded: bytes) -> Entry:
    """Read one entry that fills ``encoded`` exactly.

    Raises ``EntryFormatError`` where it does not.
    """
    if len(encoded) < ENTRY_HEADER_BYTES:
        raise EntryFormatError(f"an entry has at least {ENTRY_HEADER_BYTES} bytes, this one has {len(encoded)}")
    index, era_0, era_1, kind, origin, incarnation, sequence, length = _HEADER.unpack_from(encoded)
    data_at, birth = ENTRY_HEADER_BYTES, None
    if kind & _BORN:
        kind, data_at = kind ^ _BORN, data_at + _BIRTH.size
        if len(encoded) < data_at:
            raise EntryFormatError(f"entry {index} says that it has a birth and ends before it")
        birth = _era(*_BIRTH.unpack_from(encoded, ENTRY_HEADER_BYTES))
    if len(encoded) != data_at + length:
        raise EntryFormatError(f"entry {index} says {length} bytes of data and has {len(encoded) - data_at}")
    if kind >= len(_KINDS):
        raise EntryFormatError(f"entry {index} is of kind {kind}, this version knows kinds below {len(_KINDS)}")
    proposal = ProposalId(origin, incarnation, sequence) if incarnation else None
    return Entry(index, _era(era_0, era_1), _KINDS[kind], proposal, encoded[data_at:], encoded, birth)


@lru_cache(maxsize=64)
def _era(first: int, second: int) -> Era:
    """One object for the many entries of one era."""
    return first, second


def encode_membership(membership: Membership) -> bytes:
    """u32 apply version, then voters, outgoing and learners, each a u32 count and that many u64."""
    parts = [_U32.pack(membership.apply_version)]
    for members in (membership.voters, membership.outgoing, membership.learners):
        parts.append(struct.pack(f"<I{len(members)}Q", len(members), *members))
    return b"".join(parts)


def decode_membership(encoded: bytes) -> Membership:
    """Read what ``encode_membership`` wrote; raises ``EntryFormatError`` where the bytes are not that."""
    membership, end = _membership_at(encoded, 0)
    if end != len(encoded):
        raise EntryFormatError(f"a membership has {len(encoded) - end} bytes too many")
    return membership


def encode_configuration(membership: Membership, context: bytes) -> bytes:
    """The data of a MEMBERSHIP entry: the membership, and behind it the proposer's own bytes."""
    return encode_membership(membership) + context


def decode_configuration(data: bytes) -> tuple[Membership, bytes]:
    """The data of a MEMBERSHIP entry: the membership and the context; raises ``EntryFormatError``."""
    membership, end = _membership_at(data, 0)
    return membership, data[end:]


def encode_change(change: Change) -> bytes:
    """The data of a MEMBERSHIP proposal: both memberships, and behind them the context."""
    return encode_membership(change.before) + encode_membership(change.after) + change.context


def decode_change(data: bytes) -> Change:
    """Read what ``encode_change`` wrote; raises ``EntryFormatError``."""
    before, end = _membership_at(data, 0)
    after, end = _membership_at(data, end)
    return Change(before, after, data[end:])


def _membership_at(encoded: bytes, offset: int) -> tuple[Membership, int]:
    """The membership that begins at ``offset``, and where it ends."""
    begin = offset
    try:
        (apply_version,) = _U32.unpack_from(encoded, offset)
        offset += _U32.size
        groups: list[tuple[int, ...]] = []
        for _ in range(3):
            (count,) = _U32.unpack_from(encoded, offset)
            offset += _U32.size
            if count * 8 > len(encoded) - offset:
                raise EntryFormatError(f"a membership says {count} members and has no room for them")
            groups.append(struct.unpack_from(f"<{count}Q", encoded, offset))
            offset += 8 * count
    except struct.error as error:
        raise EntryFormatError(f"a membership of {len(encoded) - begin} bytes is cut short") from error
    return Membership(groups[0], groups[1], groups[2], apply_version), offset
