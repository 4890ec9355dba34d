"""How a node that was added to a running cluster finds out which member it is.

It dials the other peer URLs that it was given, one after another, sends ``Join``, and gets ``Joined``, or a Goodbye
that says why not. It asks until somebody answers, and says now and again what it waits for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from ratified.runtime.address import Address
from ratified.runtime.names import Names
from ratified.runtime.tls import Certificates
from ratified.runtime.transport import BACK_OFF_MAX_S, CONNECT_TIMEOUT_S
from ratified.wire.codec import FIRST_FRAME_BYTES_MAX, FrameError, PeerCodec
from ratified.wire.peer import Goodbye, Join, Joined

log = logging.getLogger("ratified.peers")

SAY_EVERY_S = 5.0


async def join(
    name: str,
    request: Join,
    addresses: Sequence[Address],
    make_codec: Callable[[], PeerCodec],
    tls: Certificates | None,
) -> Joined:
    """Ask until a member tells it."""
    loop = asyncio.get_running_loop()
    names = Names()
    say_at = loop.time()
    while True:
        reasons: list[str] = []
        if tls is not None and (wrong := tls.refresh()) is not None:
            reasons.append(wrong)
        for address in addresses:
            try:
                connection = await names.dial(tls if address.tls else None, address, CONNECT_TIMEOUT_S)
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    answer = await _ask(request, make_codec(), *connection)
            except (OSError, FrameError) as error:  # TimeoutError is one
                reasons.append(f"{address}: {error or f'no answer within {CONNECT_TIMEOUT_S} s'}")
                continue
            if isinstance(answer, Joined):
                return answer
            reasons.append(f"{address}: {answer}")
        if loop.time() >= say_at:
            say_at = loop.time() + SAY_EVERY_S
            log.warning("%s: cannot join the cluster yet, and asks again: %s", name, "; ".join(reasons))
        await asyncio.sleep(BACK_OFF_MAX_S)


async def _ask(
    request: Join, codec: PeerCodec, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Joined | str:
    """What the member at the other end answers: who we are, or why it says nothing of that."""
    try:
        writer.writelines([codec.encode(request)])
        while data := await reader.read(FIRST_FRAME_BYTES_MAX):
            for frame in codec.feed(data):
                if isinstance(frame, Joined):
                    return frame
                if isinstance(frame, Goodbye):
                    return frame.reason
        return "it closed the connection"
    finally:
        writer.close()
