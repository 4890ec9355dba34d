"""Read barriers that one replica's engine is asked for: by its own reads and questions, and by other nodes.

(Rule 8 of the contract.)

A barrier is asked for under a token, and whoever asked gets the index, or None where it was not confirmed. An answer to
another node goes out on the session on which its barrier came, or not at all: the next start of that node counts its
tokens anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeAlias

from ratified.consensus.contract import Engine, Limbo, ReadIndex, Size, Sizes
from ratified.node.observer import ReplicaObserver
from ratified.node.peers import Session
from ratified.node.room import DiskRoom
from ratified.wire.peer import Barrier, BarrierAnswer, LimboAnswer

OnIndex: TypeAlias = Callable[[int, int | None, Limbo | None], None]
"""``(now, index, limbo)``: what is asked for may be served when applied >= index, but for what limbo touches; index
None: not confirmed."""
Answer: TypeAlias = Callable[[Session, object], None]
"""``(session, message)``: put it on exactly this session, if it is still open."""


class Barriers:
    """Who waits for which barrier of the engine."""

    def __init__(self, engine: Engine, answer: Answer, room: DiskRoom, observer: ReplicaObserver | None) -> None:
        self._engine = engine
        self._room = room
        self._answer = answer
        self._observer = observer
        self._tokens = count(1)
        self._waiting: dict[int, OnIndex] = {}

    def next_token(self) -> int:
        """One that this start of the node has not used, for a message or for the engine."""
        return next(self._tokens)

    def feed(self, now: int, on_index: OnIndex) -> None:
        """Ask the engine, which leads."""
        token = self.next_token()
        self._waiting[token] = on_index
        if self._observer is not None:
            self._observer.barrier_fed(token)
        self._engine.read_barrier(now, token, may_write=not self._room.is_short)

    def on_barrier(self, now: int, session: Session, message: Barrier) -> None:

        def answer(_: int, index: int | None, limbo: Limbo | None) -> None:
            if index is None or limbo is None:
                self._answer(session, BarrierAnswer(message.token, index))
            else:
                self._answer(session, LimboAnswer(message.token, index, limbo))

        if self._engine.leading is None:
            answer(now, None, None)
        else:
            self.feed(now, answer)

    def on_read_indexes(self, now: int, reads: Sequence[ReadIndex]) -> None:
        for read in reads:
            on_index = self._waiting.pop(read.token, None)
            if on_index is not None:
                on_index(now, read.index, read.limbo)

    def sizes(self) -> Sizes:
        return {"barriers asked for": Size(len(self._waiting))}
