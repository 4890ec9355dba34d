"""Questions to the leader's store (``Store.ask``) of one group (rules 7 and 8).

A question is answered by the leader's store, after a barrier, with the time at which that barrier was fed, in the era
in which it was fed, and not before that era's first duty was applied. Elsewhere it is carried to the leader, and again
when the leader changes and by a timer, until its deadline: it may be answered twice, and changes nothing. An answer
goes out on the session on which the question came, or not at all.
"""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

from ratified.consensus.contract import Engine, Era
from ratified.machine import ReadFailed, Store
from ratified.node.barriers import Answer, Barriers
from ratified.node.duties import Duties
from ratified.node.forwarding import Send
from ratified.node.peers import Session
from ratified.node.ports import Outcome, Reason
from ratified.node.requests import OpenRequest, Requests
from ratified.wire.peer import Question, QuestionAnswer


class RemoteQuestion:
    __slots__ = ("data", "session", "token")

    def __init__(self, session: Session, message: Question) -> None:
        self.session = session
        self.token = message.token
        self.data = message.request


AnyQuestion: TypeAlias = OpenRequest | RemoteQuestion


class Asking:
    """The questions of one turn, under one barrier fed here at ``fed_at`` while leading in ``era``."""

    __slots__ = ("era", "fed_at", "questions")

    def __init__(self, era: Era, fed_at: int, questions: list[AnyQuestion]) -> None:
        self.era = era
        self.fed_at = fed_at
        self.questions = questions


class Carried:
    """A question of ours that the leader was asked, or will be at ``retry_at``."""

    __slots__ = ("question", "retry_at")

    def __init__(self, question: OpenRequest, retry_at: int) -> None:
        self.question = question
        self.retry_at = retry_at


class Questions:
    """All questions of one replica, of its own clients and, where it leads, of other nodes."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        requests: Requests,
        barriers: Barriers,
        duties: Duties,
        *,
        send: Send,
        answer: Answer,
        retry_us: int,
    ) -> None:
        self._engine = engine
        self._store = store
        self._requests = requests
        self._barriers = barriers
        self._duties = duties
        self._send = send
        self._answer = answer
        self._retry_us = retry_us
        self._leader: int | None = None
        self._new: list[AnyQuestion] = []
        self._fed: dict[Asking, None] = {}
        self._confirmed: list[tuple[int, Asking]] = []
        self._carried: dict[int, Carried] = {}

    def submit(self, question: OpenRequest) -> None:
        self._new.append(question)

    def on_question(self, session: Session, message: Question) -> None:
        if self._engine.leading is None:
            self._answer(session, QuestionAnswer(message.token, None))
        else:
            self._new.append(RemoteQuestion(session, message))

    def on_question_answer(self, now: int, message: QuestionAnswer) -> None:
        """The leader's answer to a question of ours; None: ask again a little later."""
        carried = self._carried.get(message.token)
        if carried is None:
            return
        if message.reply is None and not message.failed:
            carried.retry_at = now + self._retry_us
            return
        del self._carried[message.token]
        if not carried.question.ended:
            self._reply(carried.question, message.reply or b"", message.failed)

    def leader_changed(self, now: int, leader: int | None) -> None:
        self._leader = leader
        for carried in self._carried.values():
            carried.retry_at = now

    def refuse_all(self, reason: Reason) -> None:
        askings = [*(asking for _, asking in self._confirmed), *self._fed]
        for question in [
            *self._new,
            *(question for asking in askings for question in asking.questions),
            *(carried.question for carried in self._carried.values()),
        ]:
            if isinstance(question, OpenRequest) and not question.ended:
                self._requests.refuse(question, reason)

    # ---- once a turn

    @property
    def deadline(self) -> int | None:
        return min(carried.retry_at for carried in self._carried.values()) if self._carried else None

    def flush(self, now: int) -> None:
        """Ask everything that arrived in this turn, and again what is due."""
        if self._new:
            questions, self._new = self._new, []
            self._ask(now, questions)
        if self._carried:
            self._retry(now)

    def serve(self, now: int) -> None:
        if not self._confirmed:
            return
        confirmed, self._confirmed = self._confirmed, []
        for index, asking in confirmed:
            if asking.era != self._engine.leading:
                self._give_back(now, asking)
            elif asking.era == self._duties.questions_open_in() and index <= self._store.applied:
                for question in asking.questions:
                    self._ask_store(asking.fed_at, question)
            else:
                self._confirmed.append((index, asking))

    # ---- where this node leads

    def _ask(self, now: int, questions: list[AnyQuestion]) -> None:
        """Under one barrier where this node leads; else one by one to the leader."""
        era = self._engine.leading
        if era is not None:
            asking = Asking(era, now, questions)
            self._fed[asking] = None
            self._barriers.feed(now, partial(self._on_index, asking))
            return
        for question in questions:
            if isinstance(question, RemoteQuestion):
                self._answer(question.session, QuestionAnswer(question.token, None))
            elif not question.ended:
                self._carry(now, question)

    def _on_index(self, asking: Asking, now: int, index: int | None) -> None:
        del self._fed[asking]
        if index is None:
            self._give_back(now, asking)
        else:
            self._confirmed.append((index, asking))

    def _give_back(self, now: int, asking: Asking) -> None:
        """Not confirmed: others ask again themselves; our own wait, not at all if this node leads no longer."""
        retry_at = now if self._engine.leading != asking.era else now + self._retry_us
        for question in asking.questions:
            if isinstance(question, RemoteQuestion):
                self._answer(question.session, QuestionAnswer(question.token, None))
            elif not question.ended:
                self._carried[self._barriers.next_token()] = Carried(question, retry_at)

    def _ask_store(self, fed_at: int, question: AnyQuestion) -> None:
        if isinstance(question, OpenRequest) and question.ended:
            return
        try:
            reply, failed = self._store.ask(fed_at, question.data), False
        except ReadFailed as error:
            reply, failed = str(error).encode(), True
        if isinstance(question, RemoteQuestion):
            self._answer(question.session, QuestionAnswer(question.token, reply, failed))
        else:
            self._reply(question, reply, failed)

    def _reply(self, question: OpenRequest, reply: bytes, failed: bool) -> None:
        if failed:
            self._requests.refuse(question, Reason.FAILED, reply)
        else:
            self._requests.end(question, Outcome.DONE, reply)

    # ---- where another one leads

    def _carry(self, now: int, question: OpenRequest) -> None:
        token = self._barriers.next_token()
        self._carried[token] = Carried(question, now + self._retry_us)
        if self._leader is not None:
            self._send(self._leader, Question(token, question.data))

    def _retry(self, now: int) -> None:
        due = [token for token, carried in self._carried.items() if carried.question.ended or carried.retry_at <= now]
        carried = [self._carried.pop(token).question for token in due]
        questions: list[AnyQuestion] = [question for question in carried if not question.ended]
        if questions:
            self._ask(now, questions)
