"""Every crash point of a run, and every state that a crash there can leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ratified.consensus.draws import mix
from ratified.sim.disk import Disk, Draw
from ratified.storage.files import WriteAt

PREFIXES_OF_A_WRITE_MAX = 8


class Observed:
    """A disk that reports each of its states: before every operation that changes it, and after the last one."""

    def __init__(self, disk: Disk, at: Callable[[Disk], None]) -> None:
        self.disk = disk
        self._at = at

    def names(self) -> Sequence[str]:
        return self.disk.names()

    def size(self, file: str) -> int:
        return self.disk.size(file)

    def read(self, file: str, offset: int, length: int) -> bytes:
        return self.disk.read(file, offset, length)

    def write(self, file: str, offset: int, data: bytes) -> None:
        sectors = len(data) // 512
        for count in range(min(sectors, PREFIXES_OF_A_WRITE_MAX)):
            begun = self.disk.fork()
            begun.kill(WriteAt(file, offset, data), count)
            self._at(begun)
        self.disk.write(file, offset, data)
        self._at(self.disk.fork())

    def sync_data(self, file: str) -> None:
        failed = self.disk.fork()
        failed.fail_sync(file)
        self._at(failed)
        self.disk.sync_data(file)
        self._at(self.disk.fork())

    def create(self, file: str, length: int) -> None:
        self.disk.create(file, length)
        self._at(self.disk.fork())

    def rename(self, old: str, new: str) -> None:
        self.disk.rename(old, new)
        self._at(self.disk.fork())

    def remove(self, file: str) -> None:
        self.disk.remove(file)
        self._at(self.disk.fork())

    def sync_directory(self) -> None:
        self.disk.sync_directory()
        self._at(self.disk.fork())


def losses(disk: Disk, every_up_to: int) -> Iterator[Disk]:
    """The machine is lost in this state: all that the disk may then have, where there are no more than
    ``every_up_to`` choices; else the first so many, and as many drawn ones."""
    choices: list[int] = []
    for _ in range(every_up_to):
        trace: list[tuple[int, int]] = []
        yield _lost(disk, _scripted(choices, trace))
        while trace and trace[-1][0] == trace[-1][1] - 1:
            trace.pop()
        if not trace:
            return
        choices = [choice for choice, _ in trace]
        choices[-1] += 1
    for number in range(every_up_to):
        yield _lost(disk, _drawn(number))


def _lost(disk: Disk, draw: Draw) -> Disk:
    lost = disk.fork()
    lost.lose_machine(draw)
    return lost


def _scripted(choices: Sequence[int], trace: list[tuple[int, int]]) -> Draw:
    """Takes the given choices, then 0; notes every choice and how many there were."""

    def draw(count: int) -> int:
        choice = choices[len(trace)] if len(trace) < len(choices) else 0
        trace.append((choice, count))
        return choice

    return draw


def _drawn(number: int) -> Draw:
    draws = iter(range(1 << 30))
    return lambda count: mix(number, next(draws)) % count


def contents(disk: Disk) -> tuple[tuple[str, bytes], ...]:
    """All that a process can see of the disk."""
    return tuple((name, disk.read(name, 0, disk.size(name))) for name in disk.names())
