"""What every handler works with: the host, the request limits, and the header of answers.

An answer of the store is bytes whose header says the revision. Cluster, member and term are added as a second header
field: protobuf merges the two into one, and nothing needs decoding.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TypeVar

from ratified.api.batches import Batches
from ratified.api.errors import refusal, refused, stopped, unknown
from ratified.api.leader import LeaderWatch
from ratified.api.metrics import Metrics
from ratified.api.own_alarms import OwnAlarms
from ratified.api.passwords import COST_DEFAULT, Passwords
from ratified.api.sessions import Credentials, Session, Sessions, SignedTokens
from ratified.api.submission import Caller, Pending, Submission
from ratified.kv import alarms, queries
from ratified.kv.encoding import field, response, response_view
from ratified.kv.errors import EtcdError
from ratified.kv.identity import SERVER, Identity
from ratified.kv.requests import TXN_OPS_MAX
from ratified.runtime import Host, Outcome, OutcomeUnknown, Reply, RequestRefused, Work
from ratified.wire.etcd import errors, rpc_pb2
from ratified.wire.etcd.rpc_pb2 import NONE, NOSPACE, AlarmMember, AlarmRequest, AlarmResponse

T = TypeVar("T")

REQUEST_TIMEOUT_S = 5.0

SNAPSHOT_PATIENCE_S = 60.0
"""A message of a snapshot has up to 256 KiB: on a link of 64 kbit/s it takes half of this."""

LOOKS_FOR_ROOM_EVERY_S = 2.0
ROOM_AGAIN = 0.9
"""Of the quota: where less is used, a member that was full takes its alarm back."""
SIZE_AGE_S_MAX = 0.25
"""How old the store's size may be before it is asked for anew: the quota may be overshot by what this, and the time
until the answer, let in."""


class Service:
    """One member's API. A request's time-out is etcd's: 5 s and two election time-outs."""

    def __init__(
        self,
        host: Host,
        *,
        election_timeout_s: float,
        request_bytes_max: int,
        txn_ops_max: int = TXN_OPS_MAX,
        quota_bytes: int,
        lease_ttl_min_s: int,
        snapshot_patience_s: float = SNAPSHOT_PATIENCE_S,
        certificates_name_users: bool = False,
        bcrypt_cost: int = COST_DEFAULT,
        puts_together: bool = True,
        signed_tokens: SignedTokens | None = None,
    ) -> None:
        self.host = host
        self.timeout_s = REQUEST_TIMEOUT_S + 2 * election_timeout_s
        self.leader = LeaderWatch(host, election_timeout_s)
        self.request_bytes_max = request_bytes_max
        self.txn_ops_max = txn_ops_max
        self.quota_bytes = quota_bytes
        self.lease_ttl_min_s = lease_ttl_min_s
        self.snapshot_patience_s = snapshot_patience_s
        """How long a client may leave one message of a snapshot unread."""
        self.failed_proposals = 0
        """Writes refused, of unknown outcome, or given up by their clients, since the start."""
        self.metrics = Metrics(self)
        self.certificates_name_users = certificates_name_users
        """A client that shows no token is the user whom its certificate names."""
        self.passwords = Passwords(bcrypt_cost)
        self.sessions = Sessions(self, signed_tokens)
        self.own_alarms = OwnAlarms(host, self)
        self.own_streams = 0
        """Requests of this member itself that stay open (``corruption``): no client waits for them."""
        self.snapshots = 0
        """How many snapshots are being read by clients."""
        self._clock = asyncio.get_running_loop().time
        self._size_bytes = math.inf
        """Of the store, as it was told last; until it is, too much."""
        self._size_until = -1.0
        self._is_measuring = False
        self._batches = Batches(host, self, request_bytes_max=request_bytes_max, puts_together=puts_together)
        self._to_measure: dict[Pending, None] = {}
        """What waits for the store's size, which is not known, or was too large, in order."""
        self._later: dict[asyncio.Task[object], None] = {}
        self._header = b""
        self._header_term = -1

    def submit(self, submission: Submission, timeout_us: int | None, caller: Caller) -> Pending:
        """Begin what a method asks of the host; ``caller`` is told how it ends, and may be told at once.

        ``timeout_us``: how long the client waits; None, or more than etcd lets a request last: as long as that.
        """
        most = int(self.timeout_s * 1e6)
        now = self._clock()
        lasts_us = most if timeout_us is None or timeout_us > most else timeout_us
        pending = Pending(self, submission, now + lasts_us / 1e6, caller)
        if not submission.grows:
            self._begin(pending)
            return pending
        was_known_just_now = now < self._size_until + SIZE_AGE_S_MAX and self._size_bytes <= self.quota_bytes
        if now < self._size_until or was_known_just_now:
            self._begin_within_quota(pending)
        else:
            self._to_measure[pending] = None
        if now >= self._size_until and not self._is_measuring:
            self._measure()
        return pending

    @property
    def open_requests(self) -> tuple[int, int]:
        """How many calls this member takes, and how many wait for their answer now."""
        most, used = self.host.open_requests
        return most, used - self.own_streams + self._batches.calls_more

    @property
    def is_crowded(self) -> bool:
        """Is nearly all asked for that may be asked for at a time? (``Host.is_crowded``)"""
        return self.host.is_crowded or self._batches.is_crowded

    def cancel(self, pending: Pending) -> None:
        """Nobody waits for it any more; it may happen all the same."""
        if pending.submission.work is Work.PROPOSE:
            self.proposal_failed()
        if pending.token is not None:
            self.host.cancel(pending.token)
        else:
            self._to_measure.pop(pending, None)
            pending.give_up()

    def _begin(self, pending: Pending) -> None:
        submission = pending.submission
        if submission.is_plain:
            self._batches.add(pending)
            return
        timeout_us = max(int((pending.until_s - self._clock()) * 1e6), 0)
        pending.token = self.host.submit(submission.work, 0, submission.data, timeout_us, pending)

    def _begin_within_quota(self, pending: Pending) -> None:
        if self._size_bytes > self.quota_bytes:
            pending.fail(EtcdError(*errors.NO_SPACE))
        else:
            self._begin(pending)

    def _measure(self) -> None:
        """Ask how large the store is. What comes meanwhile is held against what it was just now, if there was room.

        After a while in which nobody wrote, it waits.
        """
        self._is_measuring = True
        self.submit(Submission(Work.READ_LOCAL, queries.status()), None, _Measuring(self))

    def measured(self, status: bytes | EtcdError) -> None:
        """What was to be told how large the store is goes on, or fails with why it cannot be known."""
        self._is_measuring = False
        waiting, self._to_measure = self._to_measure, {}
        if not isinstance(status, EtcdError):
            self._note_size(status)
        for pending in waiting:
            if isinstance(status, EtcdError):
                pending.fail(status)
            else:
                self._begin_within_quota(pending)

    def later(self, work: Coroutine[None, None, object]) -> None:
        """Do this though nobody waits for it; how it fails is of no interest."""
        task = asyncio.ensure_future(work)
        self._later[task] = None
        task.add_done_callback(self._is_done)

    def _is_done(self, task: asyncio.Task[object]) -> None:
        del self._later[task]
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, EtcdError):
            raise error

    async def propose(self, command: bytes) -> bytes:
        """Replicate a command; the answer, with its header."""
        try:
            answer = await self.host.propose(command, timeout_s=self.timeout_s)
        except RequestRefused as error:
            self.proposal_failed()
            raise refused(error) from error
        except OutcomeUnknown as error:
            self.proposal_failed()
            raise unknown() from error
        return self.answer(answer)

    def proposal_failed(self) -> None:
        self.failed_proposals += 1

    async def query(self, request: bytes, *, linearizable: bool = True, timeout_s: float | None = None) -> bytes:
        """Read; the answer, with its header. ``timeout_s``: None: as long as a request lasts."""
        return await self.own_query(request, linearizable=linearizable, timeout_s=timeout_s) + self.header()

    async def own_query(self, request: bytes, *, linearizable: bool = True, timeout_s: float | None = None) -> bytes:
        """Read; the answer as the store gives it."""
        lasts_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            parts = await self.host.query_parts(request, timeout_s=lasts_s, linearizable=linearizable)
        except RequestRefused as error:
            raise refused(error) from error
        except OutcomeUnknown as error:
            raise stopped() from error
        first, *others = parts
        return b"".join([response(first), *others])

    async def identify(self, credentials: Credentials, *, anew: bool = False) -> Identity | None:
        """As ``Sessions.identify``."""
        return await self.sessions.identify(credentials, self._clock(), anew=anew)

    def known(self, credentials: Credentials) -> Session | None:
        """What this member remembers of who that is."""
        return self.sessions.known(credentials, self._clock())

    async def ask(self, request: bytes) -> bytes:
        """Ask the leader; the answer, with its header."""
        try:
            answer = await self.host.ask(request, timeout_s=self.timeout_s)
        except RequestRefused as error:
            raise refused(error) from error
        except OutcomeUnknown as error:
            raise unknown() from error
        return self.answer(answer)

    async def change_members(self, change: Awaitable[T]) -> T:
        """One of the host's changes of the members, with etcd's errors. Raises ``ValueError`` too, as the host does."""
        try:
            return await change
        except RequestRefused as error:
            raise refused(error) from error
        except OutcomeUnknown as error:
            raise unknown() from error

    def begin_stream(self, request: bytes, on_reply: Callable[[Reply], None]) -> int:
        """Read what is answered in parts, from this member's own state; the token is for ``Host.cancel``."""
        return self.host.submit(Work.READ_LOCAL, 0, request, int(self.timeout_s * 1e6), on_reply)

    def part(self, reply: Reply, fields: bytes) -> bytes:
        """A part of a long answer, with its header and these fields; empty: its end.

        Raises where the server cannot go on with it.
        """
        if reply.outcome is Outcome.REFUSED:
            # To a client of etcd this code alone says: open the stream again, and go on from where you were.
            raise EtcdError(errors.UNAVAILABLE, refusal(reply.reason).text)
        if reply.outcome is Outcome.UNKNOWN:
            raise stopped()
        if not reply.data:
            return b""
        # A part of a watch may have many megabytes, so it is copied once.
        return b"".join((response_view(reply.data), self.header(), fields))

    def check_size(self, request: bytes) -> None:
        """Refuse a request that is larger than ``request_bytes_max``."""
        if len(request) > self.request_bytes_max:
            raise EtcdError(*errors.REQUEST_TOO_LARGE)

    async def check_quota(self) -> None:
        """Refuse what would make the store grow while it is larger than ``quota_bytes``."""
        if self._clock() >= self._size_until:
            self._note_size(await self.query(queries.status(), linearizable=False))
        if self._size_bytes > self.quota_bytes:
            raise EtcdError(*errors.NO_SPACE)

    async def take_back_alarms_for_ever(self) -> None:
        """See again and again whether there is room, while this member's alarm says that there is none: twice in a
        row, so that whoever makes room has a moment to take it back as with etcd."""
        had_room = False
        while True:
            await asyncio.sleep(LOOKS_FOR_ROOM_EVERY_S)
            has_room = False
            if self.own_alarms.has_raised(NOSPACE):
                with suppress(EtcdError):  # there is none yet, or it is asked for again
                    await self.check_quota()
                has_room = self._size_bytes < self.quota_bytes * ROOM_AGAIN
                if has_room and had_room:
                    self.own_alarms.take_back(NOSPACE)
            had_room = has_room

    async def alarms(
        self, kind: rpc_pb2.AlarmType.ValueType = NONE, *, linearizable: bool = False
    ) -> list[AlarmMember]:
        """Those of this kind, or (NONE) all, that stand; whoever asks."""
        asked = queries.alarms(AlarmRequest(alarm=kind).SerializeToString())
        answer = await self.query(queries.asked_by(SERVER, asked), linearizable=linearizable)
        return list(AlarmResponse.FromString(answer).alarms)

    def forget_size(self) -> None:
        """Ask for the store's size before the next request is held against it."""
        self._size_until = -1.0

    def _note_size(self, status: bytes) -> None:
        told = rpc_pb2.StatusResponse.FromString(status)
        self._size_bytes = told.dbSize
        self._size_until = self._clock() + SIZE_AGE_S_MAX
        if self._size_bytes > self.quota_bytes:
            own = rpc_pb2.AlarmMember(memberID=self.host.member, alarm=NOSPACE)
            if alarms.text(own) not in told.errors:
                self.own_alarms.begin(NOSPACE)

    def answer(self, answer: bytes) -> bytes:
        """The etcd response in a store's answer, with our header; raises the store's error."""
        return response(answer) + self.header()

    def header(self) -> bytes:
        """Cluster, member and term as the encoded field 1 of every response."""
        term = self.host.raft_term()
        if term != self._header_term:
            header = rpc_pb2.ResponseHeader(
                cluster_id=self.host.cluster, member_id=self.host.member, raft_term=term
            ).SerializeToString()
            self._header, self._header_term = field(b"\x0a", header), term
        return self._header


class _Measuring:
    """The ``Caller`` who asks for the store's size."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def answered(self, message: bytes) -> None:
        self._service.measured(message)

    def answered_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self._service.measured(b"".join(parts))

    def failed(self, error: EtcdError) -> None:
        self._service.measured(error)
