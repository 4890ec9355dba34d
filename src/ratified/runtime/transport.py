"""The network port: connections between peers over TCP, with the frames of ``wire.codec``.

1. A connection is one session of the node: it gets a number that is never used again, one ``Connected`` before and one
   ``Disconnected`` after everything that was ``Received`` on it. Frames arrive at most once and in order.
2. All frames of one turn for one connection are one write.
3. What waits to be sent is bounded in bytes for each connection. Overflow ends the session and is counted: engines
   send again in the next one. What was received and not yet taken by a turn is bounded too: beyond it reading stops.
4. Bytes that are no frame close the connection they came on, with one line in the log, and do nothing else; a host
   that goes on sending the same gets no further line for a while.
5. An accepted connection waits in the *lobby* until the node has admitted a member on it. The lobby is bounded, and who
   has waited longest is put out for a newcomer, so that strangers take no member's place and at most delay it. Who has
   been admitted is out of the lobby; the node admits one connection for each member.
6. A *challenge* dials a member's own address once, reads one frame, and sends nothing.
7. Who is a member, where it is, and who dials, the node says, and says again when it changes: what is connected stays,
   and the next attempt goes to the new addresses.
8. Where an address is of https, the same bytes go through TLS. A handshake that fails closes its connection, as bytes
   that are no frame do.
9. A name is looked up anew at each attempt, beside the loop (``names``), and all of its addresses are tried.
10. Members are dialled with capped exponential back-off, with jitter keyed by (seed, member, attempt). An attempt that
   did not last counts as failed, so that a peer which refuses us is not asked in a tight loop.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, cast

import msgspec

from ratified.consensus.draws import mix
from ratified.node.ports import (
    Admitted,
    Challenged,
    Connected,
    Disconnected,
    Heard,
    Input,
    Outgoing,
    PeerAddress,
    Received,
)
from ratified.runtime.address import Address, AddressError, parse_address
from ratified.runtime.clock import boottime_us
from ratified.runtime.names import Names
from ratified.runtime.notices import NoticeLog
from ratified.runtime.tls import Certificates, TlsFailed, TlsSession
from ratified.wire.codec import FIRST_FRAME_BYTES_MAX, FrameError, PeerCodec
from ratified.wire.peer import Frame, Hello

log = logging.getLogger("ratified.peers")

BACK_OFF_MIN_S = 0.02
BACK_OFF_MAX_S = 0.5
CONNECT_TIMEOUT_S = 2.0
LINGER_S = 1.0
"""How long a connection that was hung up may take to send what is left."""


class Listener(NamedTuple):
    """A bound socket, and whether TLS is spoken on it."""

    socket: socket.socket
    tls: bool = False


class TransportLimits(msgspec.Struct, frozen=True, kw_only=True):
    outgoing_bytes_max: int = 64 << 20
    """Bytes waiting to be sent on one connection."""
    received_bytes_max: int = 16 << 20
    """Bytes received on one connection since the node last took all its inputs."""
    lobby_max: int = 32
    """Connections accepted on which no member was admitted yet; for a further one the oldest is closed."""


class TransportCounters(msgspec.Struct):
    """What this transport has done since its start."""

    connections: int = 0
    frames_sent: int = 0
    bytes_sent: int = 0
    frames_received: int = 0
    bytes_received: int = 0
    overflows: int = 0
    bad_frames: int = 0
    evicted: int = 0
    """Connections closed because the lobby was full."""


class PeerTraffic(msgspec.Struct):
    """What has gone to and come from one member since the start, on connections on which it was admitted."""

    bytes_sent: int = 0
    bytes_received: int = 0
    dials_failed: int = 0
    """Attempts to connect to it."""
    bad_frames: int = 0


def back_off_s(seed: int, member: int, failures: int) -> float:
    """Seconds to wait after this many failures in a row: doubling and capped, between half and the whole of it."""
    longest = min(BACK_OFF_MIN_S * float(1 << min(failures, 16)), BACK_OFF_MAX_S)
    return longest * (0.5 + mix(seed, member, failures) / 2**65)


class _Session(asyncio.Protocol):
    """One connection, dialled (``member`` is whom) or accepted (None)."""

    def __init__(self, owner: PeerTransport, member: int | None, tls: TlsSession | None) -> None:
        self.owner = owner
        self.member = member
        self._tls = tls
        self.number = 0
        self.peer_name = ""
        self.peer_host = ""
        self.codec = owner.make_codec()
        self.traffic = PeerTraffic()
        """Until a member is admitted, of this connection alone; then that of the member."""
        self.received_bytes = 0
        self.closed: asyncio.Future[None] = owner.loop.create_future()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer_name = _peer_name(transport)
        self.peer_host = self.peer_name.rpartition(":")[0] or self.peer_name
        self.owner.opened(self)
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._tls is None:
            self.owner.received(self, data)
            return
        was_ready = self._tls.ready
        try:
            data = self._tls.receive(data)
        except TlsFailed as failed:
            self._flush()  # what is wrong, for the other side
            self.owner.tls_failed(self, str(failed))
            return
        self._flush()
        if self._tls.ready and not was_ready and (refusal := self.owner.refuses(self._tls)) is not None:
            self.owner.tls_failed(self, refusal)
        elif data or was_ready:  # part of a record is a sign of life as well
            self.owner.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone()

    def gone(self) -> None:
        """Nothing comes or goes on this connection any more."""
        self.owner.lost(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def write(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            self._flush()
        elif self._transport is not None:
            self._transport.write(data)

    def _flush(self) -> None:
        if self._tls is not None and self._transport is not None and (data := self._tls.take()):
            self._transport.write(data)

    @property
    def waiting_bytes(self) -> int:
        waiting = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return waiting if self._tls is None else waiting + self._tls.unsent_bytes

    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Send what is left, then close; not for ever."""
        transport = self._transport
        if transport is not None:
            transport.close()
            self.owner.loop.call_later(LINGER_S, transport.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class PeerTransport:
    """All peer connections of one host. Inputs go to ``offer`` on the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        offer: Callable[[Input], None],
        make_codec: Callable[[], PeerCodec],
        *,
        name: str,
        seed: int,
        limits: TransportLimits,
        tls: Certificates | None = None,
    ) -> None:
        self.loop = loop
        self.make_codec = make_codec
        self.counters = TransportCounters()
        self.traffic: dict[int, PeerTraffic] = {}
        """By member, of all others that there are."""
        self._offer = offer
        self._addresses: dict[int, Sequence[Address]] = {}
        self._name = name
        self._notices = NoticeLog(log, name)
        self._seed = seed
        self._limits = limits
        self._tls = tls
        self._names = Names()
        self._numbers = 0
        self._open: dict[int, _Session] = {}
        self._paused: list[_Session] = []
        self._received_since_rest: list[_Session] = []
        self._lobby: dict[int, _Session] = {}
        """Oldest first."""
        self._servers: list[asyncio.Server] = []
        self._diallers: dict[int, asyncio.Task[None]] = {}
        self._challenges: set[asyncio.Task[None]] = set()

    async def accept_on(self, listeners: Iterable[Listener]) -> None:
        """Accept connections on these bound sockets, which belong to the transport from now on."""
        for listener in listeners:
            accepted = self._accepted_by_tls if listener.tls else self._accepted
            self._servers.append(await self.loop.create_server(accepted, sock=listener.socket))

    def _accepted(self) -> _Session:
        return _Session(self, None, None)

    def _accepted_by_tls(self) -> _Session:
        return _Session(self, None, TlsSession(self._fresh_tls().server))

    def _fresh_tls(self) -> Certificates:
        assert self._tls is not None, "no https address is used without certificates"
        if (wrong := self._tls.refresh()) is not None:
            log.warning("%s: certificates have changed, and what was there before is used: %s", self._name, wrong)
        return self._tls

    def know(self, peers: Iterable[PeerAddress]) -> None:
        """These are all other members from now on: dial those that are to be dialled, and nobody else."""
        peers = [*peers]
        self.traffic = {peer.member: self.traffic.get(peer.member) or PeerTraffic() for peer in peers}
        self._addresses = {}
        dialled: set[int] = set()
        for peer in peers:
            addresses = self._addresses_of(peer)
            if addresses:
                self._addresses[peer.member] = addresses
                if peer.dials:
                    dialled.add(peer.member)
        for member in [*self._diallers]:
            if member not in dialled:
                self._diallers.pop(member).cancel()
        for member in sorted(dialled):
            if member not in self._diallers:
                self._diallers[member] = self.loop.create_task(self._keep_dialling(member))

    def _addresses_of(self, peer: PeerAddress) -> list[Address]:
        """Those of its URLs that this version can dial."""
        found: list[Address] = []
        for url in peer.urls:
            try:
                found.append(parse_address(url))
            except AddressError as error:
                log.warning("%s: cannot dial member %x: %s", self._name, peer.member, error)
                continue
            if found[-1].tls and self._tls is None:
                log.warning(
                    "%s: cannot dial member %x at %s: this member has no certificate", self._name, peer.member, url
                )
                del found[-1]
        return found

    def admit(self, admitted: Iterable[Admitted]) -> None:
        """The node believes that these are members."""
        for each in admitted:
            self._lobby.pop(each.connection, None)
            if (session := self._open.get(each.connection)) is not None:
                session.codec.trust()
                traffic = self.traffic.setdefault(each.member, PeerTraffic())
                traffic.bytes_sent += session.traffic.bytes_sent
                traffic.bytes_received += session.traffic.bytes_received
                session.traffic = traffic

    def challenge(self, members: Iterable[int]) -> None:
        """Ask once who answers at each member's own address."""
        for member in members:
            task = self.loop.create_task(self._challenge(member))
            self._challenges.add(task)
            task.add_done_callback(self._challenges.discard)

    def send(self, frames: Sequence[Outgoing]) -> None:
        """Write frames, those of one connection in one go. Frames for a connection that is gone are dropped."""
        parts: dict[int, list[bytes]] = {}
        for outgoing in frames:
            session = self._open.get(outgoing.connection)
            if session is not None:
                parts.setdefault(outgoing.connection, []).append(session.codec.encode(outgoing.frame))
        for number, encoded in parts.items():
            self._write(self._open[number], encoded)

    def hang_up(self, connection: int, reason: str) -> None:
        """Close a connection after what was sent on it before."""
        session = self._open.get(connection)
        if session is not None:
            log.debug("%s: closing the connection with %s: %s", self._name, session.peer_name, reason)
            self._forget(session)
            session.close()

    def resume_reading(self) -> None:
        """The node has taken everything that was received."""
        for session in self._received_since_rest:
            session.received_bytes = 0
        self._received_since_rest.clear()
        for session in self._paused:
            session.resume_reading()
        self._paused.clear()

    async def close(self) -> None:
        """Stop dialling and accepting, send what is left, close everything."""
        sessions = list(self._open.values())
        self._stop()
        for session in sessions:
            self._forget(session)
            session.close()
        await asyncio.gather(*self._diallers.values(), *self._challenges, return_exceptions=True)
        await asyncio.gather(*(session.closed for session in sessions))
        for server in self._servers:
            await server.wait_closed()

    def abort(self) -> None:
        """Drop everything at once, as a process that dies would."""
        self._stop()
        for session in list(self._open.values()):
            self._forget(session)
            session.abort()

    # ------------------------------------------------------------------------------------------------------------
    # Called by sessions

    def opened(self, session: _Session) -> None:
        self._numbers += 1
        session.number = self._numbers
        if session.member is None:
            if len(self._lobby) >= self._limits.lobby_max:
                self._evict(next(iter(self._lobby.values())))
            self._lobby[session.number] = session
        self._open[session.number] = session
        self.counters.connections += 1
        self._offer(Connected(session.number, session.member))

    def received(self, session: _Session, data: bytes) -> None:
        if session.number not in self._open:
            return
        self.counters.bytes_received += len(data)
        session.traffic.bytes_received += len(data)
        try:
            frames = session.codec.feed(data)
        except FrameError as error:
            self.counters.bad_frames += 1
            session.traffic.bad_frames += 1
            self._notice(f"closing the connection with {session.peer_host}: {error}")
            self._forget(session)
            session.abort()
            return
        self.counters.frames_received += len(frames)
        for frame in frames:
            self._offer(Received(session.number, frame))
        if not frames:
            self._offer(Heard(session.number))
        self._account(session, len(data))

    def refuses(self, tls: TlsSession) -> str | None:
        """Why who is at the other end is not let in; None: it is."""
        assert self._tls is not None, "a session of TLS has certificates"
        return self._tls.refuses(tls.certificate)

    def tls_failed(self, session: _Session, reason: str) -> None:
        """Nobody whom this member trusts is at the other end, or it does not trust this one."""
        if session.number in self._open:
            self._notice(f"closing the connection with {session.peer_host}: TLS: {reason}")
            self._forget(session)
        session.close()

    def lost(self, session: _Session) -> None:
        self._forget(session)

    # ------------------------------------------------------------------------------------------------------------

    def _notice(self, text: str) -> None:
        """Strangers may come as often as they like: the same thing about one of them is said once a minute."""
        self._notices.write(boottime_us(), text)

    def _evict(self, session: _Session) -> None:
        self.counters.evicted += 1
        self._notice(
            f"closing a connection from {session.peer_host}: there are {len(self._lobby)} on which no member has said "
            "who it is, the limit lobby_max"
        )
        self._forget(session)
        session.abort()

    def _write(self, session: _Session, encoded: list[bytes]) -> None:
        data = encoded[0] if len(encoded) == 1 else b"".join(encoded)
        waiting = session.waiting_bytes
        # One write always fits into an empty queue, however small the limit is.
        if waiting and waiting + len(data) > self._limits.outgoing_bytes_max:
            self.counters.overflows += 1
            log.warning(
                "%s: closing the connection with %s: it takes too little, %d bytes wait and %d more do not fit into %d",
                self._name,
                session.peer_name,
                waiting,
                len(data),
                self._limits.outgoing_bytes_max,
            )
            self._forget(session)
            session.abort()
            return
        session.write(data)
        self.counters.frames_sent += len(encoded)
        self.counters.bytes_sent += len(data)
        session.traffic.bytes_sent += len(data)

    def _account(self, session: _Session, received: int) -> None:
        if not session.received_bytes:
            self._received_since_rest.append(session)
        session.received_bytes += received
        if session.received_bytes > self._limits.received_bytes_max and session not in self._paused:
            session.pause_reading()
            self._paused.append(session)

    def _forget(self, session: _Session) -> None:
        """Nothing more is received or sent on this connection; the node is told, once."""
        if self._open.pop(session.number, None) is None:
            return
        self._lobby.pop(session.number, None)
        if session in self._paused:
            self._paused.remove(session)
        self._offer(Disconnected(session.number))

    def _stop(self) -> None:
        for task in (*self._diallers.values(), *self._challenges):
            task.cancel()
        for server in self._servers:
            server.close()

    async def _keep_dialling(self, member: int) -> None:
        failures = 0
        attempt = 0
        while True:
            addresses = self._addresses[member]  # as they are now
            address = addresses[attempt % len(addresses)]
            attempt += 1
            began = self.loop.time()
            session = await self._connect(member, address, first=failures == 0)
            if session is not None:
                await asyncio.shield(session.closed)
            if session is not None and self.loop.time() - began >= BACK_OFF_MAX_S:
                failures = 0
            else:
                failures += 1
            await asyncio.sleep(back_off_s(self._seed, member, failures))

    async def _challenge(self, member: int) -> None:
        found: Frame | None = None
        for address in self._addresses.get(member, ()):
            try:
                found = await self._first_frame(address)
            except (OSError, FrameError) as error:
                log.debug("%s: no answer to a challenge at %s: %s", self._name, address, error)
            if found is not None:
                break
        self._offer(Challenged(member, found if isinstance(found, Hello) else None))

    async def _first_frame(self, address: Address) -> Frame | None:
        """What the process at this address says first; None: it closes the connection before."""
        tls = self._fresh_tls() if address.tls else None
        reader, writer = await self._names.dial(tls, address, CONNECT_TIMEOUT_S)
        codec = self.make_codec()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while data := await reader.read(FIRST_FRAME_BYTES_MAX):
                    if frames := codec.feed(data):
                        return frames[0]
            return None
        finally:
            writer.close()

    async def _connect(self, member: int, address: Address, *, first: bool) -> _Session | None:
        reasons: list[str] = []
        try:
            for where in await self._names.addresses(address.host, CONNECT_TIMEOUT_S):
                session = await self._connect_to(where, member, address)
                if isinstance(session, _Session):
                    return session
                reasons.append(session)
        except OSError as error:
            reasons.append(str(error))
        if (traffic := self.traffic.get(member)) is not None:
            traffic.dials_failed += 1
        if first:
            log.info("%s: cannot reach the peer at %s: %s; trying again", self._name, address, ", ".join(reasons))
        return None

    async def _connect_to(self, where: str, member: int, address: Address) -> _Session | str:
        """A session with who is at this one of its addresses, or why there is none."""
        tls = TlsSession(self._fresh_tls().client, server_name=address.host) if address.tls else None
        session = _Session(self, member, tls)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self.loop.create_connection(lambda: session, where, address.port)
        except OSError as error:  # TimeoutError is one
            session.gone()
            return str(error) or f"no answer within {CONNECT_TIMEOUT_S} s"
        except asyncio.CancelledError:
            session.gone()  # uvloop does not say so where it was cancelled after connection_made
            raise
        return session


def _peer_name(transport: asyncio.BaseTransport) -> str:
    name = transport.get_extra_info("peername")
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "an unknown peer"
