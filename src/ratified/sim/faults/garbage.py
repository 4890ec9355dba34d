"""Bytes at the peers' port that are no frames, or only parts of some, from strangers: the real decoder meets them."""

from __future__ import annotations

from collections.abc import Sequence

from ratified.sim.faults.fault import Fault, Injector, again_and_again, nothing_lasts
from ratified.sim.faults.operators import claim
from ratified.sim.network import Bytes
from ratified.sim.world import Draws
from ratified.wire.codec import FIRST_FRAME_BYTES_MAX, HEADER_BYTES, PeerCodec, framed
from ratified.wire.peer import Batch, Fragment, Frame, Goodbye, Mark, Marked, OwnTable, Ping

LENGTHS = (FIRST_FRAME_BYTES_MAX + 1, 1 << 20, 2**32 - 1)
"""More than a first frame may have, more than any frame."""
OUT_OF_PLACE: tuple[Frame, ...] = (
    Batch(()),
    Fragment(0, 1 << 40, b"."),
    Fragment(0, 0, b"."),
    Mark(1),
    Marked(1),
    OwnTable(b""),
    Ping(),
    Goodbye(""),
)
"""Frames that say nothing before a handshake, or never."""


def _send_garbage(injector: Injector, draws: Draws) -> None:
    victim = injector.victim(draws)
    claimed = injector.cluster.machines[draws.pick(injector.cluster.members)]
    timeout_us = injector.timeout_us
    codec = PeerCodec(injector.cluster.options.row.message)
    for _ in range(1 + draws.below(4)):
        spoken = b"".join(codec.encode(frame) for frame in claim(draws, victim, claimed))
        if draws.chance(500_000):
            spoken = b""
        data = spoken + _garbage(draws, codec, spoken)
        piece_bytes = draws.pick((1, 100, FIRST_FRAME_BYTES_MAX // 2))
        # One byte at a time is slow: whoever waits for the whole waits for many election timeouts.
        every_us = timeout_us // 4 if piece_bytes == 1 else draws.pick((1, timeout_us // 4))
        stays_us = draws.pick((1, timeout_us, 20 * timeout_us))
        injector.cluster.network.stranger_bytes(victim.member, Bytes(data, piece_bytes, every_us), stays_us)


def _garbage(draws: Draws, codec: PeerCodec, spoken: bytes) -> bytes:
    kinds: Sequence[bytes] = (
        b"",
        _random(draws, 1 + draws.below(300)),
        framed(_random(draws, draws.below(300))),
        codec.encode(Ping()) + _header_of(draws.pick(LENGTHS)) + b"." * (2 * FIRST_FRAME_BYTES_MAX),
        _header_of(FIRST_FRAME_BYTES_MAX) + b"." * (FIRST_FRAME_BYTES_MAX - 1),
        codec.encode(OUT_OF_PLACE[draws.below(len(OUT_OF_PLACE))]),
        spoken[: draws.below(len(spoken) + 1)],
        _damaged(draws, codec.encode(Goodbye("not what was sent"))),
        framed(b"\x92" * (1 + draws.below(4000))),
    )
    return kinds[draws.below(len(kinds))]


def _random(draws: Draws, count: int) -> bytes:
    return b"".join(draws.draw().to_bytes(8) for _ in range(count // 8 + 1))[:count]


def _header_of(length: int) -> bytes:
    """Of a frame that says to be so long; its checksum is of nothing."""
    header = bytearray(framed(b"")[:HEADER_BYTES])
    header[8:12] = length.to_bytes(4, "little")
    return bytes(header)


def _damaged(draws: Draws, encoded: bytes) -> bytes:
    at = draws.below(len(encoded))
    return encoded[:at] + bytes([encoded[at] ^ (1 + draws.below(255))]) + encoded[at + 1 :]


GARBAGE = Fault(
    name="garbage",
    scenarios={"strangers": 2},
    begin=again_and_again(_send_garbage),
    heal=nothing_lasts,
    counters=("bad frames", "strangers put out"),
)
