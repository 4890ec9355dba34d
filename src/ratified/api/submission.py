"""What a method asks of the host, where one request to it is all that it does: most calls, and all that are hot.

Such a call is one object, ``Pending``, and no task: the host calls it back, and it tells whoever waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ratified.api.errors import refusal, stopped, unknown
from ratified.kv import commands, queries
from ratified.kv.encoding import response_view
from ratified.kv.errors import EtcdError
from ratified.kv.identity import Identity
from ratified.runtime import Outcome, Reply, Work

# A member of an enum costs more each time, on CPython 3.11, than what is done with it here.
_CHUNK = Outcome.CHUNK
_DONE = Outcome.DONE
_PROPOSE = Work.PROPOSE


class Submission(NamedTuple):
    """A request to the host, whose answer gets our header."""

    work: Work
    data: bytes
    grows: bool = False
    """It may make the store grow, so it is held against the quota."""
    answers_much: bool = False
    """A write, whose answer may have pairs in it."""
    is_plain: bool = False
    """Others like it may be asked for together with it (``batches``)."""

    def asked_by(self, who: Identity) -> Submission:
        ask = commands.asked_by if self.work is _PROPOSE else queries.asked_by
        return self._replace(data=ask(who, self.data), is_plain=False)

    @property
    def reads(self) -> bool:
        """It writes nothing, so it may be begun again."""
        return self.work is not _PROPOSE


class Caller(Protocol):
    """Who waits for the answer; is told once, by one of these."""

    def answered(self, message: bytes) -> None: ...

    def answered_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """As ``answered``; the message has many bytes, and joining its parts would take long."""

    def failed(self, error: EtcdError) -> None: ...


class HeaderWriter(Protocol):
    """Who knows the header of answers."""

    def answer(self, answer: bytes) -> bytes:
        """The response in a store's answer, with the header; raises the store's error."""

    def header(self) -> bytes:
        """The header alone."""

    def proposal_failed(self) -> None:
        """A write was refused, or how it ended is unknown."""


class Pending:
    """A submission under way; itself the host's callback."""

    __slots__ = ("_caller", "_chunks", "_headers", "submission", "token", "until_s")

    def __init__(self, headers: HeaderWriter, submission: Submission, until_s: float, caller: Caller) -> None:
        self._headers = headers
        self._caller: Caller | None = caller
        self._chunks: list[bytes] | None = None
        self.submission = submission
        self.until_s = until_s
        """When its client waits no longer, by the loop's clock."""
        self.token: int | None = None
        """Of a request to the host of its own; None: it has not begun, or is one of a batch."""

    def give_up(self) -> None:
        """Nobody waits for it any more, and the host cannot be told."""
        self._caller = None

    @property
    def is_given_up(self) -> bool:
        return self._caller is None

    def __call__(self, reply: Reply) -> None:
        outcome = reply.outcome
        if outcome is _CHUNK:
            if self._chunks is None:
                self._chunks = []
            self._chunks.append(reply.data)
        elif outcome is _DONE:
            self._answer(reply.data)
        else:
            if self.submission.work is _PROPOSE:
                self._headers.proposal_failed()
            self.fail(self._why(reply))

    def _why(self, reply: Reply) -> EtcdError:
        if reply.outcome is Outcome.REFUSED:
            return refusal(reply.reason)
        reads = self.submission.work in (Work.READ, Work.READ_LOCAL)
        return stopped() if reads else unknown()

    def _answer(self, last: bytes) -> None:
        try:
            if self._chunks is None:
                message = self._headers.answer(last)
            else:
                first, *others = *self._chunks, last
                parts: list[bytes | memoryview] = [response_view(first), *others, self._headers.header()]
        except EtcdError as error:
            self.fail(error)
            return
        if self._chunks is None:
            self.answered(message)
        elif self._caller is not None:
            self._caller.answered_in_parts(parts)

    def answered(self, message: bytes) -> None:
        if self._caller is not None:
            self._caller.answered(message)

    def fail(self, error: EtcdError) -> None:
        if self._caller is not None:
            self._caller.failed(error)
