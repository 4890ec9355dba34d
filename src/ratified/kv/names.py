"""Row keys: from a user's key of any length and content to a key that fits the space and sorts as the user's does.

- A user's key is *escaped*: a zero byte becomes ``00 FF``. That keeps the order, and makes ``00 00`` a terminator that
  sorts before everything a longer key can go on with, so that (key, revision) sorts by key first.
- Escaped keys of at most ``NAME_BYTES_MAX`` bytes are their own *name*. A longer one is named by its first
  ``NAME_BYTES_MAX`` bytes, ``01``, and a hash of the whole. Long keys that share their first bytes form a *group*: one
  run of rows, in the right place among all others, inside which names sort by hash. Who scans reads a small group as a
  whole and sorts it by the whole keys, which are in the rows, and goes through a large one by ``order``.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from operator import itemgetter
from struct import Struct

from ratified.storage.space import KEY_BYTES_MAX

HASH_BYTES = 16
_POSITION = Struct(">QI")
TERMINATOR = b"\x00\x00"
NAME_BYTES_MAX = KEY_BYTES_MAX - 1 - HASH_BYTES - len(TERMINATOR) - _POSITION.size
_GROUP = b"\x01"
_AFTER_GROUP = b"\x02"

HISTORY_SUFFIX_BYTES = len(TERMINATOR) + _POSITION.size
position = _POSITION.pack
"""(revision, sub-revision) as 12 bytes that sort."""
read_position = _POSITION.unpack


def escaped(key: bytes) -> bytes:
    """What sorts as the key does, whatever bytes are in it."""
    return key.replace(b"\x00", b"\x00\xff") if b"\x00" in key else key


def name(key: bytes) -> bytes:
    """The row key of a user's key."""
    long = escaped(key)
    if len(long) <= NAME_BYTES_MAX:
        return long
    return long[:NAME_BYTES_MAX] + _GROUP + blake2b(key, digest_size=HASH_BYTES).digest()


hash_in: Callable[[bytes], bytes] = itemgetter(slice(-HASH_BYTES, None))
"""What tells a name from the others of its group."""


def name_of_group(shared: bytes, hash_of_key: bytes) -> bytes:
    """The name with this hash in the group whose keys begin with ``shared``."""
    return shared + _GROUP + hash_of_key


def is_whole(row_name: bytes) -> bool:
    """Whether a name holds the whole key; else it is one of a group."""
    return len(row_name) <= NAME_BYTES_MAX


def has_whole_name(key: bytes) -> bool:
    """Whether a user's key is short enough to be whole in its name."""
    return len(key) + key.count(0) <= NAME_BYTES_MAX


def key_of(row_name: bytes) -> bytes:
    """The user's key of a whole name."""
    return row_name.replace(b"\x00\xff", b"\x00") if b"\x00" in row_name else row_name


def group_of(row_name: bytes) -> tuple[bytes, bytes]:
    """The bounds, first included and last not, of the names in this name's group."""
    shared = row_name[:NAME_BYTES_MAX]
    return shared + _GROUP, shared + _AFTER_GROUP


def are_of_one_group(first: bytes, last: bytes | None) -> bool:
    """Whether these are the bounds of the names in one group."""
    return len(first) > NAME_BYTES_MAX and last == group_of(first)[1]


def first_name(key: bytes) -> bytes:
    """The least name that a key >= ``key`` can have; of its own group every name is."""
    long = escaped(key)
    return long if len(long) <= NAME_BYTES_MAX else long[:NAME_BYTES_MAX] + _GROUP


def last_name(key: bytes) -> bytes:
    """A bound above every name that a key < ``key`` can have; of its own group every name is below."""
    long = escaped(key)
    return long if len(long) <= NAME_BYTES_MAX else long[:NAME_BYTES_MAX] + _AFTER_GROUP


def history_key(row_name: bytes, revision: int, sub: int) -> bytes:
    """The key of one change of one key; the changes of a key sort by time."""
    return row_name + TERMINATOR + position(revision, sub)


def split_history_key(key: bytes) -> tuple[bytes, int, int]:
    """(name, revision, sub-revision)."""
    revision, sub = read_position(key[-_POSITION.size :])
    return key[:-HISTORY_SUFFIX_BYTES], revision, sub
