"""Watch: many watches on one stream.

Rules, as etcd keeps them:

1. A client creates and cancels watches and asks for progress by requests; every answer carries the watch's id, its own
   choice or the lowest that is free. The first answer of a watch says ``created``, its last one ``canceled``; a refusal
   is both, under id -1, and takes no id. The id of a watch that a compaction ended stays its own until the client
   cancels it, which is answered by ``canceled`` once more.
2. Each watch is a continuation of the store. What all of one stream's watches yield goes out in the order in which the
   store gave it, through one task that is never cancelled in the middle of a message.
3. Progress, asked for, is answered under id -1 once every watch of the stream has been sent everything up to the
   header's revision. The store knows when it has given that; by rule 2 the answer overtakes none of it.
4. Cancels and refusals are answered before any event that waits, except between the fragments of one revision. Nothing
   of a watch follows the answer to its cancel.
5. A watch too many is refused alone. A watch that the server cannot go on with ends the whole stream as UNAVAILABLE:
   clients then open it again, from the revision that they have come to.
6. A stream's requests are carried out in slices, however many have come, and so does what ends with it end; while much
   waits for the host's turns a slice is one step. Nobody else waits for a client that creates thousands of watches at
   once, or leaves them.
7. A watch that is quiet is few objects: the garbage collector looks at all there are of a member's watches at once.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from ratified.api.access import Access
from ratified.api.stream import BidiStream
from ratified.kv import queries, requests
from ratified.kv.encoding import varint
from ratified.kv.errors import EtcdError
from ratified.kv.watch import COMPACTED, FRAGMENT
from ratified.runtime import Host, Outcome, Reader, Reason, Reply
from ratified.wire.etcd import errors, rpc_pb2

NO_WATCH_ID = -1
WATCHES_PER_STREAM_MAX = 10_000
COMPACTED_WATCHES_MAX = 10_000
"""Ids of watches of one stream that a compaction ended and no client has cancelled; beyond it the oldest is free."""
ANSWERS_WAITING_MAX = 1_000
"""Answers to cancels, and refusals, that may wait for a client before its further requests do."""
PROGRESS_REQUESTS_MAX = 100
"""Requests for progress that may wait on one stream; one more is answered by the answer to these."""
STEPS_AT_ONCE = 64
"""Requests of one stream that are carried out, watches that are begun, and watches of an ended stream that are closed,
before the loop serves others again; and inputs that may wait for the host's turns before such a slice is one step."""

_streams = itertools.count(1)


async def watch(access: Access, stream: BidiStream) -> None:
    """Serve one stream until the client cancels it."""
    watches = _Watches(access, stream)
    receiving, *others = tasks = [
        asyncio.ensure_future(work) for work in (watches.receive(), watches.begin_questions(), watches.send())
    ]
    try:
        # A client that sends no more may still want to be sent events, so the end of its requests ends nothing.
        await asyncio.wait((*tasks, watches.failed), return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            receiving.result()
        await asyncio.wait((*others, watches.failed), return_when=asyncio.FIRST_COMPLETED)
        for ended in (*others, watches.failed):
            if ended.done():
                ended.result()
    finally:
        for task in tasks:
            task.cancel()
        watches.end()


async def _let_others_run(steps: int, host: Host) -> None:
    """To be awaited after each step: what a step itself waits for is often there already, and then stops nothing."""
    if steps % STEPS_AT_ONCE == 0 or host.inputs_waiting >= STEPS_AT_ONCE:
        await asyncio.sleep(0)


class _Question:
    """A watch, or a request for progress, that the store answers in parts."""

    __slots__ = (
        "_on_reply",
        "_parts",
        "answered",
        "canceled",
        "fields",
        "query",
        "token",
        "told",
        "waiting_bytes",
        "watch_id",
    )

    def __init__(
        self, watch_id: int, fields: bytes, query: bytes, on_reply: Callable[[_Question, Reply], None]
    ) -> None:
        self.watch_id = watch_id
        self.fields = fields
        self.query = query
        self._on_reply = on_reply
        self.token: int | None = None
        """Of the request to the host, while that is open."""
        self.answered = False
        self.told = False
        """Whether the client has been sent something of it."""
        self.canceled = False
        self.waiting_bytes = 0
        self._parts: deque[bytes] | None = None
        """None while nothing waits."""

    def __call__(self, reply: Reply) -> None:
        """A reply of the host; the question itself is the callback."""
        self._on_reply(self, reply)

    def add(self, part: bytes) -> None:
        if self._parts is None:
            self._parts = deque()
        self._parts.append(part)

    def take(self) -> bytes | None:
        """The next part that waits, if any."""
        if self._parts is None:
            return None
        part = self._parts.popleft()
        if not self._parts:
            self._parts = None
        self.told = True
        return part

    def drop(self) -> None:
        self._parts = None


_Next: TypeAlias = "tuple[bytes, _Question | None]"


class _Watches:
    """The watches of one stream, by id; ``failed`` ends the stream with its exception."""

    def __init__(self, access: Access, stream: BidiStream) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._access = access
        self._service = access.service
        self._stream = stream
        self._number = next(_streams)
        self._watches: dict[int, _Question] = {}
        self._progress_requests: dict[_Question, None] = {}
        self._compacted: dict[int, None] = {}
        """Ids of those that a compaction ended, in that order."""
        self._answers: list[rpc_pb2.WatchResponse] = []
        """To cancels, and refusals, that wait for their header."""
        self._answering: asyncio.Future[None] | None = None
        self._next_id = 0
        self._reader: Reader = access.service.host.reader()
        stream.reads_by(self._reader)
        self._to_begin: asyncio.Queue[_Question] = asyncio.Queue()
        self._outgoing = _Outgoing()
        self._on_reply = self._take_reply  # bound once, not once a watch

    async def receive(self) -> None:
        """Carry out the client's requests, until it sends no more."""
        for number in itertools.count(1):
            message = await self._stream.receive()
            if message is None:
                return
            request = requests.decode(rpc_pb2.WatchRequest, message)
            match request.WhichOneof("request_union"):
                case "create_request":
                    if self._answering is not None:  # the id may be that of a watch whose end is not answered yet
                        await asyncio.wait((self._answering,))
                    self._create(request.create_request)
                case "cancel_request":
                    self._cancel(request.cancel_request.watch_id)
                case "progress_request":
                    self._ask_progress()
            await self._outgoing.has_room()
            await _let_others_run(number, self._service.host)

    async def begin_questions(self) -> None:
        """Ask the store, in the order of the client's requests, while what it gave already does not wait too long."""
        for number in itertools.count(1):
            question = await self._to_begin.get()
            await self._reader.has_room()
            await self._renew(question)
            if not question.canceled:
                self._begin(question)
            await _let_others_run(number, self._service.host)

    async def _renew(self, question: _Question) -> None:
        """Find out who the client is now, before a watch begins: the stream may have begun long ago."""
        if question.canceled or question.watch_id == NO_WATCH_ID:
            return
        try:
            await self._access.renew()
        except EtcdError as error:
            question.canceled = True
            self._forget(question)
            self._refuse(error.text)

    async def send(self) -> None:
        """Pass on what is to be sent, one message after another."""
        while True:
            message, question = await self._outgoing.next()
            await self._stream.send(message)
            if question is not None and not question.canceled:
                question.waiting_bytes -= len(message)
                self._reader.taken(len(message))

    def end(self) -> None:
        self.failed.cancel()
        if self._answering is not None:
            self._answering.cancel()
        self._close_next(deque((*self._watches.values(), *self._progress_requests)))

    def _close_next(self, questions: deque[_Question]) -> None:
        for _ in range(min(STEPS_AT_ONCE, len(questions))):
            self._close(questions.popleft())
            if self._service.host.inputs_waiting >= STEPS_AT_ONCE:
                break
        if questions:
            asyncio.get_running_loop().call_soon(self._close_next, questions)

    # ---- what the client asks for

    def _create(self, request: rpc_pb2.WatchCreateRequest) -> None:
        if requests.watches_nothing(request):
            self._refuse(errors.EMPTY_WATCHER_RANGE_TEXT)
            return
        watch_id = request.watch_id or self._free_id()
        if self._is_taken(watch_id):
            self._refuse(errors.DUPLICATE_WATCH_ID_TEXT)
        elif len(self._watches) >= WATCHES_PER_STREAM_MAX:
            self._refuse(f"more than {WATCHES_PER_STREAM_MAX} watches on one stream")
        else:
            fields = b"\x10" + varint(watch_id) if watch_id else b""
            question = self._question(watch_id, fields, queries.watch(self._number, request.SerializeToString()))
            self._watches[watch_id] = question
            self._to_begin.put_nowait(question)

    def _is_taken(self, watch_id: int) -> bool:
        return watch_id in self._watches or watch_id in self._compacted

    def _free_id(self) -> int:
        while self._is_taken(self._next_id):
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _cancel(self, watch_id: int) -> None:
        question = self._watches.pop(watch_id, None)
        was_compacted = watch_id in self._compacted
        if question is None and not was_compacted:
            return
        self._compacted.pop(watch_id, None)
        if question is not None:
            self._close(question)
            if not question.told:
                self._answer(rpc_pb2.WatchResponse(watch_id=watch_id, created=True))
        self._answer(rpc_pb2.WatchResponse(watch_id=watch_id, canceled=True))

    def _answer(self, response: rpc_pb2.WatchResponse) -> None:
        self._answers.append(response)
        if self._answering is None:
            self._answering = asyncio.ensure_future(self._send_answers())

    async def _send_answers(self) -> None:
        """Ask the store for a header; those that come meanwhile share the next one."""
        try:
            while self._answers:
                answers, self._answers = self._answers, []
                answer = await self._service.query(queries.status(), linearizable=False)
                header = rpc_pb2.StatusResponse.FromString(answer).header
                for response in answers:
                    response.header.CopyFrom(header)
                    self._outgoing.answer(response.SerializeToString())
        except EtcdError as error:
            self._fail(error)
        finally:
            self._answering = None

    def _ask_progress(self) -> None:
        if len(self._progress_requests) >= PROGRESS_REQUESTS_MAX:
            return
        question = self._question(NO_WATCH_ID, b"", queries.progress(self._number))
        self._progress_requests[question] = None
        self._to_begin.put_nowait(question)

    def _refuse(self, reason: str) -> None:
        self._answer(rpc_pb2.WatchResponse(watch_id=NO_WATCH_ID, created=True, canceled=True, cancel_reason=reason))

    # ---- what the store answers

    def _question(self, watch_id: int, fields: bytes, query: bytes) -> _Question:
        return _Question(watch_id, fields, query, self._on_reply)

    def _begin(self, question: _Question) -> None:
        question.token = self._access.begin_stream(question.query, question)
        question.query = b""
        self._reader.begins(question.token)

    def _take_reply(self, question: _Question, reply: Reply) -> None:
        try:
            self._pass_on(question, reply)
        except EtcdError as error:
            self._fail(error)

    def _fail(self, error: EtcdError) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _pass_on(self, question: _Question, reply: Reply) -> None:
        is_watch = question not in self._progress_requests
        if reply.reason is Reason.OVERLOADED and not question.answered and is_watch:
            self._forget(question)
            self._refuse(errors.TOO_MANY_REQUESTS.text)
            return
        message = self._service.part(reply, question.fields)
        if message:
            assert question.token is not None, "nothing follows the end of a request"
            question.answered = True
            if message.startswith(COMPACTED):
                self._keep_compacted(question.watch_id)
            question.add(message)
            question.waiting_bytes += len(message)
            self._outgoing.event(question)
            self._reader.arrived(question.token, len(message))
        if reply.outcome is Outcome.DONE:
            self._forget(question)

    def _keep_compacted(self, watch_id: int) -> None:
        self._compacted[watch_id] = None
        if len(self._compacted) > COMPACTED_WATCHES_MAX:
            del self._compacted[next(iter(self._compacted))]

    def _forget(self, question: _Question) -> None:
        """The store has given everything; it may still have to be sent."""
        if question in self._progress_requests:
            del self._progress_requests[question]
        else:
            del self._watches[question.watch_id]
        if question.token is not None:
            self._reader.ends(question.token, 0)
            question.token = None

    def _close(self, question: _Question) -> None:
        """Ask no further, and drop what waits."""
        question.canceled = True
        question.drop()
        if question.token is not None:
            self._service.host.cancel(question.token)
            self._reader.ends(question.token, question.waiting_bytes)
            question.token = None


class _Outgoing:
    """What is to be sent on one stream: answers to its requests first, then the parts of questions as they came."""

    def __init__(self) -> None:
        self._answers: deque[bytes] = deque()
        self._order: deque[_Question] = deque()
        """One entry a part. Those whose question has been cancelled since are passed over."""
        self._fragmented: _Question | None = None
        """The question of whose revision further fragments must come next."""
        self._is_filled = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    def answer(self, message: bytes) -> None:
        self._answers.append(message)
        self._is_filled.set()
        if len(self._answers) >= ANSWERS_WAITING_MAX:
            self._has_room.clear()

    def event(self, question: _Question) -> None:
        self._order.append(question)
        self._is_filled.set()

    async def has_room(self) -> None:
        await self._has_room.wait()

    async def next(self) -> _Next:
        """The next message, and the question that it answers, if any."""
        while True:
            await self._is_filled.wait()
            found = self._take()
            if found is not None:
                return found
            self._is_filled.clear()

    def _take(self) -> _Next | None:
        if self._answers and (self._fragmented is None or self._fragmented.canceled):
            # A client drops the fragments it has where something else of the stream comes between.
            self._fragmented = None
            self._has_room.set()
            return self._answers.popleft(), None
        while self._order:
            question = self._order.popleft()
            message = question.take()
            if message is not None:
                self._fragmented = question if message.startswith(FRAGMENT) else None
                return message, question
        return None
