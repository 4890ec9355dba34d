"""Questions to the leader's store (``Store.ask``) of one group (rules 7 and 8 of the contract).

A question is answered by the leader's store, after a barrier, with the time at which that barrier was fed, in the era
in which it was fed, and not before that era's first duty was applied. Elsewhere it is carried to the leader, and again
when the leader changes and by a timer, until its deadline: it may be answered twice, and changes nothing. An answer
goes out on the session on which the question came, or not at all.
"""

from __future__ import annotations

import heapq
from functools import partial
from itertools import count
from typing import TypeAlias

from ratified.consensus.contract import Engine, Era, Limbo, Size, Sizes
from ratified.machine import ReadFailed, Store
from ratified.node.barriers import Answer, Barriers
from ratified.node.duties import Duties
from ratified.node.forwarding import Send
from ratified.node.peers import Session
from ratified.node.ports import Outcome, Reason
from ratified.node.requests import OpenRequest, Requests
from ratified.node.retries import Retries
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
        self._leader: int | None = None
        self._new: list[AnyQuestion] = []
        self._fed: dict[Asking, None] = {}
        self._confirmed: list[tuple[int, int, Asking]] = []
        """Index, a count, and what was asked. A heap."""
        self._confirmations = count()
        self._carried: dict[int, OpenRequest] = {}
        """By token, what the leader was asked, or will be."""
        self._retries: Retries[int] = Retries(retry_us)

    def submit(self, question: OpenRequest) -> None:
        self._new.append(question)

    def on_question(self, session: Session, message: Question) -> None:
        if self._engine.leading is None:
            self._answer(session, QuestionAnswer(message.token, None))
        else:
            self._new.append(RemoteQuestion(session, message))

    def on_question_answer(self, now: int, message: QuestionAnswer) -> None:
        """The leader's answer to a question of ours; None: ask again a little later."""
        if message.token not in self._carried:
            return
        if message.reply is None and not message.failed:
            self._retries.later(now, message.token)
            return
        question = self._take_back(message.token)
        if not question.ended:
            self._reply(question, message.reply or b"", message.failed)

    def leader_changed(self, now: int, leader: int | None) -> None:
        self._leader = leader
        self._retries.all_at_once()
        leading = self._engine.leading
        for _, _, asking in self._confirmed:
            if asking.era != leading:
                self._give_back(now, asking)
        self._confirmed = [each for each in self._confirmed if each[2].era == leading]
        heapq.heapify(self._confirmed)

    def refuse_all(self, reason: Reason) -> None:
        askings = [*(asking for _, _, asking in self._confirmed), *self._fed]
        for question in [
            *self._new,
            *(question for asking in askings for question in asking.questions),
            *self._carried.values(),
        ]:
            if isinstance(question, OpenRequest) and not question.ended:
                self._requests.refuse(question, reason)

    def sizes(self) -> Sizes:
        return {
            "questions under a barrier": Size(len(self._new) + len(self._fed) + len(self._confirmed)),
            "questions carried to the leader": Size(len(self._carried) + len(self._retries)),
        }

    # ---- once a turn

    @property
    def deadline(self) -> int | None:
        return self._retries.deadline

    def flush(self, now: int) -> None:
        """Ask everything that arrived in this turn, and again what is due."""
        if self._new:
            questions, self._new = self._new, []
            self._ask(now, questions)
        if self._retries:
            self._retry(now)

    def serve(self, now: int) -> None:
        confirmed = self._confirmed
        while confirmed and self._may_be_answered(*confirmed[0]):
            _, _, asking = heapq.heappop(confirmed)
            for question in asking.questions:
                self._ask_store(asking.fed_at, question)

    def _may_be_answered(self, index: int, _: int, asking: Asking) -> bool:
        era = self._duties.questions_open_in()
        return asking.era == era == self._engine.leading and index <= self._store.applied

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

    def _on_index(self, asking: Asking, now: int, index: int | None, limbo: Limbo | None) -> None:
        del self._fed[asking]
        if index is None:
            self._give_back(now, asking)
        else:
            last = index if limbo is None else limbo.last
            heapq.heappush(self._confirmed, (last, next(self._confirmations), asking))

    def _give_back(self, now: int, asking: Asking) -> None:
        """Not confirmed: others ask again themselves; our own wait, not at all if this node leads no longer."""
        leads = self._engine.leading == asking.era
        for question in asking.questions:
            if isinstance(question, RemoteQuestion):
                self._answer(question.session, QuestionAnswer(question.token, None))
            elif not question.ended:
                token = self._barriers.next_token()
                self._carried[token] = question
                if leads:
                    self._retries.later(now, token)
                else:
                    self._retries.at_once(token)

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
        self._carried[token] = question
        self._retries.later(now, token)
        if self._leader is not None:
            self._send(self._leader, Question(token, question.data))

    def _retry(self, now: int) -> None:
        carried = [self._take_back(token) for token in self._retries.due(now)]
        questions: list[AnyQuestion] = [question for question in carried if not question.ended]
        if questions:
            self._ask(now, questions)

    def _take_back(self, token: int) -> OpenRequest:
        self._retries.drop(token)
        return self._carried.pop(token)
