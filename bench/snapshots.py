"""What a state costs that is read in pieces and loaded in pieces: ``python bench/snapshots.py [--keys 1000000]``.

Processor time, for a piece of 64 KiB: reading it, loading it beside the state that serves, removing a slice of what was
replaced; how long the longest of each took, and how much memory it took beside the store. Then what a view costs that
is open while others write: how much longer the file gets, for no page that the view can see is used again.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ratified.kv import commands
from ratified.kv.store import KvStore
from ratified.machine import Command
from ratified.storage.lmdb import LmdbEnvironment
from ratified.storage.space import Environment
from ratified.wire.etcd.rpc_pb2 import PutRequest

PIECE_BYTES = 64 * 1024
BATCH = 200
VALUE_BYTES = 100
ERA = (1, 0)


class Costs:
    """Processor time of each call of something, in milliseconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._took: list[float] = []
        self._memory = _memory_mb()

    def of(self, act: Callable[[], object]) -> object:
        begun = time.process_time()
        result = act()
        self._took.append(1e3 * (time.process_time() - begun))
        return result

    def tell(self) -> None:
        took = sorted(self._took)
        print(
            f"{self._name:>8}: {len(took):>7} pieces, {1e3 * len(took) / sum(took):>6.0f}/s, ms each: median "
            f"{took[len(took) // 2]:.2f}, 99% {took[len(took) * 99 // 100]:.2f}, longest {took[-1]:.2f}; memory "
            f"+{_memory_mb() - self._memory:.0f} MB"
        )


def _memory_mb() -> float:
    """The most that this process had, without the pages of the store's file."""
    anonymous = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(anonymous.split()[1]) / 1024


def put(environment: Environment, store: KvStore, first: int, count: int, keys: int) -> None:
    """So many puts, some keys again."""
    for at in range(first, first + count, BATCH):
        numbers = range(at, min(at + BATCH, first + count))
        batch = [
            Command(
                store.applied + number,
                commands.put(
                    PutRequest(
                        key=b"key/%09d" % (at % keys), value=b"%d" % at * (VALUE_BYTES // len(b"%d" % at))
                    ).SerializeToString()
                ),
            )
            for number, at in enumerate(numbers, 1)
        ]
        with environment.transaction():
            store.apply(batch, store.applied + len(batch), ERA)


def pieces(store: KvStore, costs: Costs) -> Iterator[bytes]:
    reader = store.read_state()
    while (piece := costs.of(lambda: reader.read(PIECE_BYTES))) is not None:
        assert isinstance(piece, bytes)
        yield piece
    reader.close()


def travel(path: Path, keys: int) -> None:
    """From one store to another that has as many keys already."""
    source, target = LmdbEnvironment(_made(path / "source")), LmdbEnvironment(_made(path / "target"))
    sender, receiver = KvStore(source.space(0)), KvStore(target.space(0))
    put(source, sender, 0, keys, keys)
    put(target, receiver, 0, keys // 10, keys)
    reading, loading, removing = Costs("read"), Costs("load"), Costs("remove")
    loader = receiver.load_state(sender.applied, ERA)
    size = 0
    for piece in pieces(sender, reading):
        size += len(piece)

        def load(piece: bytes = piece) -> None:
            with target.transaction():
                loader.load(piece)

        loading.of(load)

    def switch() -> None:
        with target.transaction():
            loader.switch()

    def tidy() -> None:
        with target.transaction():
            receiver.tidy()

    switching = Costs("switch")
    switching.of(switch)
    while receiver.untidy:
        removing.of(tidy)
    assert receiver.digest() == sender.digest()
    print(f"{keys} keys, {size >> 20} MiB")
    for costs in (reading, loading, switching, removing):
        costs.tell()
    source.close()
    target.close()


def view(path: Path, keys: int, seconds: float) -> None:
    """The file of a store that is written, with and without a view that is open all the time."""
    for held in (False, True):
        environment = LmdbEnvironment(_made(path / f"held-{held}"))
        store = KvStore(environment.space(0))
        put(environment, store, 0, keys, keys)
        before = environment.size_bytes
        reader = store.read_state() if held else None
        until, puts = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            put(environment, store, keys + puts, BATCH, keys)
            puts += BATCH
        grown = environment.size_bytes - before
        print(
            f"{'a view open' if held else 'no view':>12}: {puts} puts in {seconds:.0f} s, the file grew from "
            f"{before >> 20} by {grown >> 20} MiB, {grown / puts:.0f} bytes a put"
        )
        if reader is not None:
            reader.close()
        environment.close()


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--view-seconds", type=float, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        travel(Path(directory), arguments.keys)
        view(Path(directory), arguments.keys, arguments.view_seconds)
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB, pages of the file included")


if __name__ == "__main__":
    main()
