"""Linearizable reads and questions of one group (rules 7 and 8).

- The reads of one turn share one barrier: asked of the own engine if it leads, else of the leader's replica. No
  answer, or "not confirmed": the barrier is asked again, when the leader changes and by a timer, until the deadlines
  of its reads. Any answer to any asking of a barrier will do: each was asked after its reads had arrived.
- A confirmed read is answered from the store once ``applied`` has reached the barrier's index.
- A question is answered by the leader's store, after a barrier, with the time at which that barrier was fed, in the
  era in which it was fed, and not before that era's first duty was applied. Elsewhere it is carried to the leader.
- Barriers and questions have no numbers: they may be answered twice, and change nothing. An answer goes out on the
  session on which the question came, or not at all: the next start of the asking node counts its tokens anew.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from ratified.consensus.contract import Engine, Era
from ratified.machine import Continuation, ReadFailed, Store
from ratified.node.admission import Requests
from ratified.node.forwarding import Send
from ratified.node.observer import ReplicaObserver
from ratified.node.peers import Session
from ratified.node.ports import Outcome, Request, Why
from ratified.node.streams import Streams
from ratified.wire.peer import Barrier, BarrierAnswer, Question, QuestionAnswer

Answer = Callable[[Session, object], None]
"""``(session, message)``: put it on exactly this session, if it is still open."""


class OpenRead:
    """A client's read or question that waits for its barrier or its answer."""

    __slots__ = ("_requests", "data", "deadline", "ended", "retry_at", "size_bytes", "token")

    def __init__(self, requests: Requests, request: Request) -> None:
        self._requests = requests
        self.token = request.token
        self.deadline: int | None = request.deadline
        self.data = request.data
        self.size_bytes = len(request.data)
        self.ended = False
        self.retry_at: int | None = None

    def expire(self, now: int) -> None:
        """The deadline has come: nothing was answered."""
        self.refuse(Why.TIMED_OUT)

    def cancel(self) -> None:
        """Nobody waits."""
        self.ended = True

    def refuse(self, why: Why, text: bytes = b"") -> None:
        """End without an answer."""
        self.ended = True
        self._requests.end(self.token, Outcome.REFUSED, text, why)

    def answer(self, reply: bytes) -> None:
        """End with one."""
        self.ended = True
        self._requests.end(self.token, Outcome.DONE, reply)


class ReadBarrier:
    """The barrier of the reads of one turn."""

    __slots__ = ("reads", "retry_at", "tokens")

    def __init__(self, reads: list[OpenRead]) -> None:
        self.reads = reads
        self.tokens: list[int] = []
        self.retry_at: int | None = None


class RemoteBarrier:
    """Another node's barrier, fed to the engine here."""

    __slots__ = ("session", "token")

    def __init__(self, session: Session, token: int) -> None:
        self.session = session
        self.token = token


class RemoteQuestion:
    """Another node's question."""

    __slots__ = ("data", "session", "token")

    def __init__(self, session: Session, token: int, data: bytes) -> None:
        self.session = session
        self.token = token
        self.data = data


class Asking:
    """The questions of one turn, under one barrier fed here at ``fed_at`` while leading in ``era``."""

    __slots__ = ("era", "fed_at", "index", "questions")

    def __init__(self, era: Era, fed_at: int, questions: list[OpenRead | RemoteQuestion]) -> None:
        self.era = era
        self.fed_at = fed_at
        self.questions = questions
        self.index: int | None = None


Waiting = ReadBarrier | RemoteBarrier | Asking


class Reads:
    """All reads and questions of one replica, of its own clients and, where it leads, of other nodes."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        requests: Requests,
        streams: Streams,
        send: Send,
        answer: Answer,
        retry_us: int,
        questions_open_in: Callable[[], Era | None],
        observer: ReplicaObserver | None,
    ) -> None:
        self._engine = engine
        self._store = store
        self._requests = requests
        self._streams = streams
        self._send = send
        self._answer = answer
        self._retry_us = retry_us
        self._questions_open_in = questions_open_in
        self._observer = observer
        self._leader: int | None = None
        self._last_token = 0
        self._new_reads: list[OpenRead] = []
        self._new_questions: list[OpenRead | RemoteQuestion] = []
        self._fed: dict[int, Waiting] = {}
        """What waits for an answer, by every token under which it was asked."""
        self._unanswered: dict[int, ReadBarrier] = {}
        """Barriers of our own, by their first token."""
        self._confirmed: list[tuple[int, ReadBarrier]] = []
        self._asked: dict[int, OpenRead] = {}
        """Questions of our own that were carried to the leader, or wait to be asked again; by token."""
        self._askings: list[Asking] = []

    # ---- inputs

    def read(self, request: Request) -> None:
        """A linearizable read of a client."""
        read = OpenRead(self._requests, request)
        self._requests.open(read)
        self._new_reads.append(read)

    def read_local(self, now: int, request: Request) -> None:
        """A read of what is applied here."""
        read = OpenRead(self._requests, request)
        self._requests.open(read)
        self._answer_from_store(now, read)

    def ask(self, request: Request) -> None:
        """A client's question to the leader."""
        question = OpenRead(self._requests, request)
        self._requests.open(question)
        self._new_questions.append(question)

    def on_barrier(self, now: int, session: Session, message: Barrier) -> None:
        """Another node's barrier."""
        if self._engine.leading is None:
            self._answer(session, BarrierAnswer(message.token, None))
        else:
            self._feed(now, RemoteBarrier(session, message.token))

    def on_question(self, session: Session, message: Question) -> None:
        """Another node's question."""
        if self._engine.leading is None:
            self._answer(session, QuestionAnswer(message.token, None))
        else:
            self._new_questions.append(RemoteQuestion(session, message.token, message.request))

    def on_barrier_answer(self, now: int, message: BarrierAnswer) -> None:
        """The leader's answer to a barrier of ours."""
        barrier = self._unanswered_by(message.token)
        if barrier is not None:
            self._barrier_answered(now, barrier, message.index)

    def on_question_answer(self, now: int, message: QuestionAnswer) -> None:
        """The leader's answer to a question of ours; None: ask again a little later."""
        question = self._asked.get(message.token)
        if question is None:
            return
        if message.reply is None and not message.failed:
            question.retry_at = now + self._retry_us
            return
        del self._asked[message.token]
        if question.ended:
            return
        if message.failed:
            question.refuse(Why.FAILED, message.reply or b"")
        else:
            question.answer(message.reply or b"")

    def on_read_index(self, now: int, token: int, index: int | None) -> None:
        """The own engine's answer to a barrier."""
        waiting = self._fed.pop(token, None)
        match waiting:
            case ReadBarrier():
                self._barrier_answered(now, waiting, index)
            case RemoteBarrier():
                self._answer(waiting.session, BarrierAnswer(waiting.token, index))
            case Asking() if index is None:
                self._give_back(now, waiting)
            case Asking():
                waiting.index = index
                self._askings.append(waiting)
            case None:
                pass

    def leader_changed(self, now: int, leader: int | None) -> None:
        """Ask again whoever leads now; what was fed here is answered by the engine itself."""
        self._leader = leader
        for barrier in self._unanswered.values():
            barrier.retry_at = now
        for question in self._asked.values():
            question.retry_at = now

    # ---- once a turn

    @property
    def deadline(self) -> int | None:
        """When something must be asked again."""
        if not self._unanswered and not self._asked:
            return None
        times = [barrier.retry_at for barrier in self._unanswered.values()]
        times += [question.retry_at for question in self._asked.values()]
        return min((time for time in times if time is not None), default=None)

    @property
    def busy(self) -> bool:
        """Is there anything that ``flush`` would look at?"""
        return bool(self._new_reads or self._new_questions or self._unanswered or self._asked)

    def flush(self, now: int) -> None:
        """Ask for everything that arrived in this turn, and again for what is due."""
        if self._new_reads:
            barrier, self._new_reads = ReadBarrier(self._new_reads), []
            self._ask_barrier(now, barrier)
        if self._new_questions:
            questions, self._new_questions = self._new_questions, []
            self._ask_questions(now, questions)
        if self._unanswered:
            self._retry_barriers(now)
        if self._asked:
            self._retry_questions(now)

    def serve(self, now: int) -> None:
        """Answer what is confirmed and applied."""
        if self._confirmed:
            self._serve_reads(now)
        if self._askings:
            self._serve_questions(now)

    def refuse_all(self, why: Why) -> None:
        """The replica stops."""
        barriers = [*self._unanswered.values(), *(barrier for _, barrier in self._confirmed)]
        askings = [*self._askings, *(waiting for waiting in self._fed.values() if isinstance(waiting, Asking))]
        for waiting in chain(
            self._new_reads,
            self._new_questions,
            (read for barrier in barriers for read in barrier.reads),
            (question for asking in askings for question in asking.questions),
            self._asked.values(),
        ):
            if isinstance(waiting, OpenRead) and not waiting.ended:
                waiting.refuse(why)

    # ---- barriers

    def _feed(self, now: int, waiting: Waiting) -> int:
        token = self._next_token()
        self._fed[token] = waiting
        if self._observer is not None:
            self._observer.barrier_fed(token)
        self._engine.read_barrier(now, token)
        return token

    def _ask_barrier(self, now: int, barrier: ReadBarrier) -> None:
        """Ask the leader, whoever that is; with none known the next change asks."""
        barrier.retry_at = now + self._retry_us
        if self._engine.leading is not None:
            token = self._feed(now, barrier)
        else:
            token = self._next_token()
            self._fed[token] = barrier
            if self._leader is not None:
                self._send(self._leader, Barrier(token))
        barrier.tokens.append(token)
        self._unanswered.setdefault(barrier.tokens[0], barrier)

    def _retry_barriers(self, now: int) -> None:
        due = [barrier for barrier in self._unanswered.values() if barrier.retry_at is not None]
        for barrier in due:
            if barrier.retry_at is not None and barrier.retry_at <= now:
                barrier.reads = [read for read in barrier.reads if not read.ended]
                if barrier.reads:
                    self._ask_barrier(now, barrier)
                else:
                    self._drop(barrier)

    def _unanswered_by(self, token: int) -> ReadBarrier | None:
        waiting = self._fed.get(token)
        return waiting if isinstance(waiting, ReadBarrier) else None

    def _barrier_answered(self, now: int, barrier: ReadBarrier, index: int | None) -> None:
        if barrier.tokens[0] not in self._unanswered:
            return
        if index is None:
            barrier.retry_at = now + self._retry_us
            return
        self._drop(barrier)
        self._confirmed.append((index, barrier))

    def _drop(self, barrier: ReadBarrier) -> None:
        """It needs no further answer."""
        del self._unanswered[barrier.tokens[0]]
        for token in barrier.tokens:
            self._fed.pop(token, None)

    def _serve_reads(self, now: int) -> None:
        applied = self._store.applied
        waiting: list[tuple[int, ReadBarrier]] = []
        for index, barrier in self._confirmed:
            if index <= applied:
                for read in barrier.reads:
                    if not read.ended:
                        self._answer_from_store(now, read)
            else:
                waiting.append((index, barrier))
        self._confirmed = waiting

    def _answer_from_store(self, now: int, read: OpenRead) -> None:
        try:
            answer: bytes | Continuation = self._store.read(now, read.data)
        except ReadFailed as error:
            read.refuse(Why.FAILED, str(error).encode())
            return
        if isinstance(answer, bytes):
            read.answer(answer)
        elif self._requests.streams_full:
            answer.cancel()
            read.refuse(Why.OVERLOADED)
        else:
            read.ended = True
            self._streams.begin(now, read.token, answer)

    # ---- questions

    def _ask_questions(self, now: int, questions: list[OpenRead | RemoteQuestion]) -> None:
        """Under one barrier where this node leads; else one by one to the leader."""
        era = self._engine.leading
        if era is not None:
            self._feed(now, Asking(era, now, questions))
            return
        for question in questions:
            if isinstance(question, RemoteQuestion):
                self._answer(question.session, QuestionAnswer(question.token, None))
            elif not question.ended:
                self._carry(now, question)

    def _carry(self, now: int, question: OpenRead) -> None:
        token = self._next_token()
        self._asked[token] = question
        question.retry_at = now + self._retry_us
        if self._leader is not None:
            self._send(self._leader, Question(token, question.data))

    def _retry_questions(self, now: int) -> None:
        due = [token for token, question in self._asked.items() if _is_due(question, now)]
        questions: list[OpenRead | RemoteQuestion] = [
            question for question in map(self._asked.pop, due) if not question.ended
        ]
        if questions:
            self._ask_questions(now, questions)

    def _serve_questions(self, now: int) -> None:
        applied = self._store.applied
        leading = self._engine.leading
        open_in = self._questions_open_in()
        waiting: list[Asking] = []
        for asking in self._askings:
            if asking.era != leading:
                self._give_back(now, asking)
            elif asking.era == open_in and asking.index is not None and asking.index <= applied:
                for question in asking.questions:
                    self._answer_question(asking.fed_at, question)
            else:
                waiting.append(asking)
        self._askings = waiting

    def _answer_question(self, fed_at: int, question: OpenRead | RemoteQuestion) -> None:
        if isinstance(question, OpenRead) and question.ended:
            return
        try:
            reply, failed = self._store.ask(fed_at, question.data), False
        except ReadFailed as error:
            reply, failed = str(error).encode(), True
        if isinstance(question, RemoteQuestion):
            self._answer(question.session, QuestionAnswer(question.token, reply, failed))
        elif failed:
            question.refuse(Why.FAILED, reply)
        else:
            question.answer(reply)

    def _give_back(self, now: int, asking: Asking) -> None:
        """Not confirmed: others ask again themselves; our own wait, not at all if this node leads no longer."""
        retry_at = now if self._engine.leading != asking.era else now + self._retry_us
        for question in asking.questions:
            if isinstance(question, RemoteQuestion):
                self._answer(question.session, QuestionAnswer(question.token, None))
            elif not question.ended:
                question.retry_at = retry_at
                self._asked[self._next_token()] = question

    def _next_token(self) -> int:
        self._last_token += 1
        return self._last_token


def _is_due(question: OpenRead, now: int) -> bool:
    return question.ended or (question.retry_at is not None and question.retry_at <= now)
