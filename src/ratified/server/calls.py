"""Calls of clients, between ``edge`` and ``api``.

Rules

1. A call that one request to the host answers has no task. Others have one each, which is cancelled when its client
   goes, or waits no longer.
2. Reads, and writes that answer with pairs, begin where there is room for their answers (``edge.answers``).
3. An exception out of a handler is a defect of ours: the call ends as UNKNOWN, it is logged, and nothing else ends.
4. A call that shows who asks is begun as theirs (``api.sessions``). Where the store says that this is old, or not said,
   it is found out anew, once: nothing was done.
5. What a call keeps lets go of it when it ends: none waits for the garbage collector, which counts no bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol

from typing_extensions import override

from ratified.api.access import Access
from ratified.api.methods import Method, MethodKind
from ratified.api.service import Service
from ratified.api.sessions import RENEWS, Credentials
from ratified.api.stream import BidiStream
from ratified.api.submission import Pending, Submission
from ratified.edge.answers import Answers, Share
from ratified.edge.grpc import CallHead, Code
from ratified.kv.errors import EtcdError
from ratified.kv.identity import Identity
from ratified.runtime import Reader

log = logging.getLogger("ratified.server")

UNFINISHED_S = 60
"""How long a client may take to send a unary call's request."""
UNSENT_BYTES_MAX = 64 << 10
"""What may wait to be sent on a stream before its handler does."""
DEFECT = "a call of %s ended by a defect"
FAILED = "the server has failed to serve this call: its log says why"
LATE = "context deadline exceeded"


class AnyCall(Protocol):
    """A call by gRPC (``edge.grpc.Call``), or one that was translated (``gateway.JsonCall``)."""

    @property
    def head(self) -> CallHead: ...

    @property
    def began_at(self) -> float:
        """When it began, by the loop's clock."""

    @property
    def waiting_bytes(self) -> int: ...

    def answer(self, message: bytes) -> None: ...

    def answer_parts(self, parts: Sequence[bytes | memoryview]) -> None: ...

    def send(self, parts: Sequence[bytes | memoryview]) -> None: ...

    def end(self, code: int = Code.OK, text: str = "") -> None: ...

    def done_with(self, message: bytes) -> None: ...


class CallContext(Protocol):
    """What calls need of the connection that they came on."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    @property
    def service(self) -> Service: ...

    @property
    def answers(self) -> Answers: ...

    @property
    def share(self) -> Share:
        """The client's, of ``answers``."""

    @property
    def reader_bytes_max(self) -> int:
        """What may wait in the reader of one streaming call more."""

    def flush_soon(self) -> None:
        """Something is to be written."""

    def streaming_begins(self, streaming: Streaming) -> None: ...

    def streaming_ends(self, streaming: Streaming) -> None:
        """Its client has gone, or its handler has ended, or both."""


class Unary:
    """A call with one request and one answer; the ``Sink`` of the one, the ``Caller`` of the other."""

    __slots__ = (
        "_began_at",
        "_call",
        "_context",
        "_credentials",
        "_is_counted",
        "_is_known_anew",
        "_message",
        "_method",
        "_pending",
        "_submission",
        "_task",
        "_timer",
        "_wants_leader",
        "_who",
    )

    def __init__(
        self, context: CallContext, call: AnyCall, method: Method, wants_leader: bool, credentials: Credentials | None
    ) -> None:
        """``credentials``: None: the client shows none."""
        self._context = context
        self._call = call
        self._method = method
        self._wants_leader = wants_leader
        self._credentials = credentials
        self._who: Identity | None = None
        self._is_known_anew = False
        self._began_at = call.began_at
        self._message: bytes | None = None
        self._submission: Submission | None = None
        self._is_counted = False
        """Its answer may be large, so it waits for room (``edge.answers``)."""
        self._pending: Pending | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- what comes from the client

    def on_message(self, message: bytes) -> None:
        if self._message is not None:
            self._call.end(Code.INTERNAL, "grpc: a unary call has one message")
            return
        self._message = message

    def on_end(self) -> None:
        message, self._message = self._message, None
        if message is None:
            self._call.end(Code.INTERNAL, "grpc: a unary call has one message")
        else:
            self._begin(message)

    def _begin(self, message: bytes) -> None:
        context, credentials = self._context, self._credentials
        try:
            if self._wants_leader:
                context.service.leader.check()
            if self._method.kind is not MethodKind.SUBMISSION:
                self._begin_task(lambda: self._serve(message))
                return
            self._submission = self._method.handler(context.service, message)
        except EtcdError as error:
            self._call.end(error.code, error.text)
            return
        except Exception:
            log.exception(DEFECT, self._call.head.path)
            self._call.end(Code.UNKNOWN, FAILED)
            return
        if credentials is None:
            self._enter()
        elif (session := context.service.known(credentials)) is not None:
            self._who = session.who
            self._enter()
        else:
            self._begin_task(lambda: self._identify(credentials))

    def _enter(self) -> None:
        """Start, or wait for room for the answer."""
        made = self._submission
        assert made is not None, "a call enters when its request has come"
        if made.reads or made.answers_much:
            self._is_counted = True
            self._context.answers.ask(self._context.share, self)
        else:
            self.start()

    def on_gone(self) -> None:
        context = self._context
        if self._is_counted:
            context.answers.given_up(context.share, self)
        if (pending := self._let_go()) is not None:
            context.service.cancel(pending)
        if self._timer is not None:  # the task may not have begun, and never will
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        context.flush_soon()  # it may be the edge that ended the call, and there may be room for others now

    def on_sent(self) -> None:
        pass

    def on_second(self, now: float) -> None:
        """End a call of which nothing has been asked yet, though its client waits no longer."""
        timeout_us = self._call.head.timeout_us
        is_complete = self._submission is not None or self._task is not None
        if not is_complete and now - self._began_at > (UNFINISHED_S if timeout_us is None else timeout_us / 1e6):
            self._call.end(Code.DEADLINE_EXCEEDED, LATE)
            self._message = None

    # -- who asks

    async def _identify(self, credentials: Credentials, *, anew: bool = False) -> None:
        """Find out who asks, and start."""
        self._who = await self._context.service.identify(credentials, anew=anew)
        self._enter()

    # -- beginning (``edge.answers.Read``)

    def start(self) -> None:
        submission = self._submission
        assert submission is not None, "a call starts when its request has come"
        if self._who is not None:
            submission = submission.asked_by(self._who)
        self._pending = self._context.service.submit(submission, self._left_us(), self)

    def stop(self) -> bool:
        if self._submission is None or not self._submission.reads:
            return False
        if (pending := self._let_go()) is not None:
            self._context.service.cancel(pending)
        return True

    def _let_go(self) -> Pending | None:
        """Of what is under way, which would keep this call, and is kept by it."""
        pending, self._pending = self._pending, None
        return pending

    def _begin_task(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        self._task = asyncio.ensure_future(self._done(work))
        left_us = self._left_us()
        if left_us is not None:
            self._timer = self._context.loop.call_later(left_us / 1e6, self._task.cancel)

    def _left_us(self) -> int | None:
        """How long the client still waits; None: for as long as it takes."""
        timeout_us = self._call.head.timeout_us
        if timeout_us is None:
            return None
        return max(timeout_us - int((self._context.loop.time() - self._began_at) * 1e6), 0)

    # -- what comes from the host

    def answered(self, message: bytes) -> None:
        self._is_answered(len(message))
        self._call.answer(message)
        self._context.flush_soon()

    def answered_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self._is_answered(sum(map(len, parts)))
        self._call.answer_parts(parts)
        self._context.flush_soon()

    def failed(self, error: EtcdError) -> None:
        self._is_answered(0)
        credentials = self._credentials
        if credentials is not None and not self._is_known_anew and error.text in RENEWS:
            self._is_known_anew = True
            self._begin_task(lambda: self._identify(credentials, anew=True))
            return
        self._call.end(error.code, error.text)
        self._context.flush_soon()

    def _is_answered(self, size_bytes: int) -> None:
        self._pending = None
        if self._is_counted:
            self._context.answers.answered(self._context.share, self, size_bytes)

    async def _serve(self, message: bytes) -> None:
        service, credentials = self._context.service, self._credentials
        session = None if credentials is None else service.known(credentials)
        access = Access(service, credentials, None if session is None else session.who)
        if session is None:
            await access.renew()
        self._call.answer(await self._method.handler(access, message))

    async def _done(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """See how the work of a task ends."""
        try:
            await work()
        except EtcdError as error:
            self._call.end(error.code, error.text)
        except asyncio.CancelledError:
            self._call.end(Code.DEADLINE_EXCEEDED, LATE)  # nothing, where the client has gone
            raise
        except Exception:
            log.exception(DEFECT, self._call.head.path)
            self._call.end(Code.UNKNOWN, FAILED)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._context.flush_soon()


class Streaming(BidiStream):
    """A call with many messages: the ``Sink`` of the client's, the ``BidiStream`` of its handler."""

    def __init__(
        self, context: CallContext, call: AnyCall, method: Method, wants_leader: bool, credentials: Credentials | None
    ) -> None:
        """``credentials``: None: the client shows none."""
        self._context = context
        self._call = call
        self._wants_leader = wants_leader
        self._credentials = credentials
        self._arrived: deque[bytes] = deque()
        self._ended = False
        self._has_arrived = asyncio.Event()
        self._is_sent = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._reader: Reader | None = None
        self._task = asyncio.ensure_future(self._serve(method))
        context.streaming_begins(self)
        self._task.add_done_callback(self._is_done)
        if call.head.timeout_us is not None:
            self._deadline = context.loop.call_later(call.head.timeout_us / 1e6, self._on_deadline)

    # -- what comes from the client

    def on_message(self, message: bytes) -> None:
        self._arrived.append(message)
        self._has_arrived.set()

    def on_end(self) -> None:
        self._ended = True
        self._has_arrived.set()

    def on_gone(self) -> None:
        if self._deadline is not None:  # the task may not have begun, and never will
            self._deadline.cancel()
        self._task.cancel()
        self._context.streaming_ends(self)
        self._context.flush_soon()

    def on_sent(self) -> None:
        self._is_sent.set()

    # -- the handler

    @override
    async def receive(self) -> bytes | None:
        while not self._arrived:
            if self._ended:
                return None
            self._has_arrived.clear()
            await self._has_arrived.wait()
        message = self._arrived.popleft()
        self._call.done_with(message)
        self._context.flush_soon()  # the client may have waited to be allowed to send more
        return message

    @override
    async def send(self, message: bytes) -> None:
        call = self._call
        call.send((message,))
        self._context.flush_soon()
        while call.waiting_bytes > UNSENT_BYTES_MAX:
            self._is_sent.clear()
            await self._is_sent.wait()

    @override
    def reads_by(self, reader: Reader) -> None:
        reader.limit(self._context.reader_bytes_max)
        self._reader = reader

    @property
    def waiting_bytes(self) -> int:
        """What waits for the client beside what was sent."""
        return 0 if self._reader is None else self._reader.waiting_bytes

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self._context.streaming_ends(self)

    async def _serve(self, method: Method) -> None:
        service = self._context.service
        access = Access(service, self._credentials)
        try:
            await access.renew()
            if self._wants_leader:
                service.leader.check()
                await service.leader.run(method.handler(access, self))
            else:
                await method.handler(access, self)
            self._call.end()
        except EtcdError as error:
            self._call.end(error.code, error.text)
        except Exception:
            log.exception(DEFECT, self._call.head.path)
            self._call.end(Code.UNKNOWN, FAILED)
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
            self._context.flush_soon()

    def _on_deadline(self) -> None:
        self._call.end(Code.DEADLINE_EXCEEDED, LATE)
        self._task.cancel()
