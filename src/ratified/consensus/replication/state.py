"""Reading a protocol's ``StateRecord``: numbers of fixed width, or nothing at all before the first write."""

from __future__ import annotations

import struct


class StateFormatError(ValueError):
    """Bytes that are no state of this protocol."""


def unpack_state(protocol: str, layout: struct.Struct, data: bytes) -> tuple[int, ...]:
    """The numbers of a state record; empty where nothing was ever written (b"").

    Raises ``StateFormatError`` for anything else.
    """
    if not data:
        return ()
    if len(data) != layout.size:
        raise StateFormatError(f"a {protocol} state has {layout.size} bytes, this one has {len(data)}")
    return layout.unpack(data)
