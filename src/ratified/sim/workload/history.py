"""What clients saw of each key: which requests ended how, in real time, and whether an order explains it."""

from __future__ import annotations

from bisect import bisect_right, insort

import msgspec

from ratified.check.at_most_once import AtMostOnce
from ratified.check.linearizability import Linearizable, NotLinearizable, Operation, linearize
from ratified.check.register import Call, Register, Result
from ratified.check.violation import Violation


class Ended(msgspec.Struct, frozen=True):
    """A request, and what is known of its outcome."""

    client: int
    call: Call
    command: bytes | None
    """None: a read."""
    invoked: int
    returned: int | None
    """None: it may have happened, or may yet."""
    result: Result = None
    revision: int = 0


class History:
    """What one group's clients asked and were answered, key by key."""

    def __init__(self, group: int, requests: AtMostOnce) -> None:
        self._group = group
        self._requests = requests
        self._ended: dict[bytes, list[Ended]] = {}
        self._made: list[tuple[int, bytes]] = []
        """Which command made which revision, ascending, as far as answers said so."""

    def ended(self, key: bytes, ended: Ended, *, changed: bool = False) -> None:
        """A request has ended; ``changed``: its revision is its own."""
        self._ended.setdefault(key, []).append(ended)
        if changed:
            assert ended.command is not None, "only a write changes something"
            insort(self._made, (ended.revision, ended.command))

    def operations(self) -> dict[bytes, list[Operation[Call, Result]]]:
        """By key. The place of a write in the log is its hint, and that of the write which made what a read saw, the
        read's: a hint decides what the checker tries first and nothing else."""
        return {
            key: [Operation(of.client, of.call, of.invoked, of.returned, of.result, self._hint(of)) for of in ended]
            for key, ended in sorted(self._ended.items())
        }

    def _hint(self, of: Ended) -> int | None:
        delivered = self._requests.delivered
        if of.command is not None:
            index = delivered.get(of.command)
            return None if index is None else 2 * index
        place = bisect_right(self._made, of.revision, key=lambda row: row[0])
        return 2 * delivered[self._made[place - 1][1]] + 1 if place else None

    def judge(self) -> None:
        """Raises ``Violation`` where no order explains what was seen."""
        for key, operations in self.operations().items():
            verdict = linearize(operations, Register())
            if isinstance(verdict, Linearizable):
                continue
            where = f"the history of key {key.decode()} in group {self._group}, {len(operations)} operations,"
            if isinstance(verdict, NotLinearizable):
                raise Violation(
                    "linearizability",
                    f"{where} has no order that explains it; nothing explains {operations[verdict.stuck]} after "
                    f"{[operations[position] for position in verdict.explained[-5:]]}",
                )
            raise Violation("linearizability", f"{where} was not decided within {verdict.steps} steps")
