"""Maintenance.Snapshot: this member's state as a backup, of one commit.

Rules

1. A piece of the state is read when the client has taken what came before, but for what waits for a reader at most.
2. While it is read a view of the store is open, beside which the store's file grows. So a client that has not taken a
   message after ``snapshot_patience_s`` is read for no longer: the view is closed at once. Each message has that time,
   so a client that reads is never ended so, however slowly it does. One that is too slow for how much is written is
   ended by the store (``kv.backup``).
3. A message that is being sent is never cancelled while its client is there: half a message is none. The call
   ends, with its error, when the client takes it, and without when it leaves. Until then nothing else is kept.
4. At most ``SNAPSHOTS_MAX`` are read at once, and hold as many views.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ratified.api.access import Access
from ratified.api.errors import refused, stopped
from ratified.api.service import Service
from ratified.api.stream import BidiStream
from ratified.kv import queries
from ratified.kv.backup import StateHead, decode_head
from ratified.kv.encoding import response
from ratified.kv.errors import EtcdError
from ratified.runtime import OutcomeUnknown, RequestRefused
from ratified.wire.backup import BackupEncoder, BackupHead
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import SnapshotResponse

SNAPSHOTS_MAX = 16
"""Each may have a reader's 2 MiB waiting (``runtime.reader``)."""


async def snapshot(access: Access, stream: BidiStream) -> None:
    """Stream a backup to a client; raises ``EtcdError`` where there are too many, or where the client does not read."""
    await stream.receive()
    await access.check_manages(linearizable=False)
    if access.service.snapshots >= SNAPSHOTS_MAX:
        raise EtcdError(*errors.TOO_MANY_SNAPSHOTS)
    access.service.snapshots += 1
    try:
        unread = await _send_all(access, stream)
    finally:
        access.service.snapshots -= 1
    if unread is not None:
        await unread
        raise EtcdError(*errors.SNAPSHOT_UNREAD)


async def _send_all(access: Access, stream: BidiStream) -> asyncio.Future[None] | None:
    """None: the client has taken all. Else the sending of what it has not, when everything else is let go."""
    async with aclosing(_messages(access)) as messages:
        async for message in messages:
            sending = asyncio.ensure_future(stream.send(message))
            if not await _ends(sending, access.service.snapshot_patience_s):
                return sending
    return None


async def _ends(sending: asyncio.Future[None], timeout_s: float) -> bool:
    """Is it over in time? Raises what it raises."""
    try:
        await asyncio.wait((sending,), timeout=timeout_s)
    except asyncio.CancelledError:  # the client has left
        sending.cancel()
        raise
    if sending.done():
        sending.result()
    return sending.done()


async def _messages(access: Access) -> AsyncGenerator[bytes, None]:
    """The encoded SnapshotResponses, each read from the store when it is asked for; raises ``EtcdError``."""
    encoder = BackupEncoder()
    left = 0

    def message(blob: bytes) -> bytes:
        return SnapshotResponse(blob=blob, remaining_bytes=left).SerializeToString() + access.service.header()

    service = access.service
    stream = service.host.stream(access.asked(queries.state()), timeout_s=service.timeout_s, linearizable=False)
    try:
        async with aclosing(stream) as chunks:
            head = decode_head(await anext(chunks))
            blob = encoder.head(_head(service, head))
            left = max(head.bytes_about - len(blob), 1)
            yield message(blob)
            async for chunk in chunks:
                blob = encoder.piece(response(chunk))
                left = max(left - len(blob), 1)
                yield message(blob)
    except RequestRefused as error:
        raise refused(error) from error
    except OutcomeUnknown as error:
        raise stopped() from error
    left = 0
    yield message(encoder.end())


def _head(service: Service, state: StateHead) -> BackupHead:
    host = service.host
    return BackupHead(
        cluster=host.cluster,
        member=host.member,
        engine=host.engine,
        members={member.id: member.name for member in host.members()},
        index=state.index,
        era=state.era,
        revision=state.revision,
        keys=state.keys,
    )
