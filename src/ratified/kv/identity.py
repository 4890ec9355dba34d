"""Who asks: in the header of a command, and in front of a query.

An identity is a user's name and the auth revision at which it was found out who this is. Encoded it is a length in one
byte and so many bytes; nobody is one zero byte, so what is asked while auth is off costs nothing.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

NAME_BYTES_MAX = 128
"""Of the names of users and roles."""
_REVISION = Struct(">Q")
NOBODY = b"\x00"
"""The header without an identity."""


class Identity(NamedTuple):
    """A user's name, and the auth revision at which it was found out."""

    user: str
    revision: int

    def encode(self) -> bytes:
        content = _REVISION.pack(self.revision) + self.user.encode()
        return bytes([len(content)]) + content


HEADER_BYTES_MAX = 1 + _REVISION.size + NAME_BYTES_MAX
SERVER = Identity("", 2**64 - 1)
"""A member itself, in what it does by its options. No client is ever this one: a user has a name."""


def split(data: bytes, start: int) -> tuple[Identity | None, bytes]:
    """The identity whose header begins at ``start``, and what is behind it. Raises ``ValueError``."""
    size = data[start]
    if not size:
        return None, data[start + 1 :]
    end = start + 1 + size
    if size < _REVISION.size or len(data) < end:
        raise ValueError(f"a header of {size} bytes is no identity")
    (revision,) = _REVISION.unpack_from(data, start + 1)
    return Identity(data[start + 1 + _REVISION.size : end].decode(), revision), data[end:]
