"""A log that is cut: how long a start takes with many keys, and how log and memory stay over many writes.

Run ``python bench/checkpoints.py [keys] [writes]``. One member, a real process. Fills it with keys, overwrites drawn
ones and compacts meanwhile, in transactions of 100 puts, and prints samples of log, store, memory and the last
checkpoint; then how long the member takes to serve again after SIGKILL, and after the loss of its machine: its store is
discarded, and begun as the checkpoint's copy.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from ratified.client import Client, Do
from ratified.consensus.draws import mix
from ratified.testing.processes import LocalNode, free_ports, scratch_directory

KEYS = 1_000_000
WRITES = 1_000_000
AT_ONCE = 100
THREADS = 8
SAMPLES = 20
VALUE = "v" * 64
CHECKPOINT_LOG_BYTES = 16 << 20


def memory_mib(node: LocalNode) -> int:
    """Without the store's pages, which the process maps."""
    status = Path(f"/proc/{node.pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) >> 10


def write(node: LocalNode, keys: Iterator[int], count: int) -> None:
    """So many puts, from several threads."""
    batches = [list(islice(keys, AT_ONCE)) for _ in range(count // AT_ONCE)]

    def run(part: list[list[int]]) -> None:
        with Client([node.endpoint], timeout_s=30) as client:
            for batch in part:
                client.txn([], [Do.put(f"key{number:08}", VALUE) for number in dict.fromkeys(batch)], [])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, [batches[at::THREADS] for at in range(THREADS)]))


def sample(node: LocalNode, written: int) -> None:
    with Client([node.endpoint], timeout_s=30) as client:
        report, status = client.report(node.endpoint), client.status(node.endpoint)
    print(
        f"{written:>10} puts: log {report.log_bytes >> 20:5} MiB, keys and values {status.db_size_bytes >> 20:5} MiB, "
        f"memory {memory_mib(node):5} MiB, checkpoint {report.checkpoint_bytes >> 20:5} MiB in "
        f"{report.checkpoint_us / 1e6:.1f} s",
        flush=True,
    )


def start(node: LocalNode, how: str) -> None:
    began = time.monotonic()
    node.start()
    node.wait_ready(timeout_s=600)
    print(f"serves {time.monotonic() - began:.2f} s after {how}", flush=True)


def lose_machine(data: Path) -> None:
    """As after a power failure: the store's mark is of another boot."""
    mark = data / "store" / "mark"
    mark.write_bytes(mark.read_bytes()[:-4] + b"lost")


def drawn(keys: int) -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield mix(number) % keys


def fill(node: LocalNode, keys: int) -> None:
    write(node, iter(range(keys)), keys)
    sample(node, keys)


def overwrite(node: LocalNode, keys: int, writes: int) -> None:
    """Compact after each sample, so that the store does not grow."""
    numbers = drawn(keys)
    for at in range(SAMPLES):
        write(node, numbers, writes // SAMPLES)
        sample(node, keys + (at + 1) * writes // SAMPLES)
        with Client([node.endpoint], timeout_s=60) as client:
            client.compact(client.status(node.endpoint).revision)


def wait_for_checkpoint(node: LocalNode) -> None:
    """One that this process has taken."""
    with Client([node.endpoint], timeout_s=30) as client:
        while not client.report(node.endpoint).checkpoint_us:
            time.sleep(0.1)


def main(keys: int = KEYS, writes: int = WRITES) -> None:
    with scratch_directory("ratified-bench-") as directory:
        client_port, peer_port = free_ports(2)
        data = directory / "data"
        arguments = (
            f"--data-dir={data}",
            f"--listen-client-urls=http://127.0.0.1:{client_port}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            f"--checkpoint-log-bytes={CHECKPOINT_LOG_BYTES}",
        )
        node = LocalNode("default", client_port, arguments, directory / "log")
        often = LocalNode("default", client_port, (*arguments, "--snapshot-count=50"), directory / "log")
        try:
            start(node, "its first start")
            fill(node, keys)
            overwrite(node, keys, writes)
            node.kill()
            start(node, "SIGKILL")
            node.kill()
            lose_machine(data)
            start(node, "the loss of its machine")
            sample(node, keys + writes)
            node.kill()
            start(often, "SIGKILL")
            write(often, drawn(keys), 60 * AT_ONCE)
            wait_for_checkpoint(often)
            sample(often, keys + writes + 60 * AT_ONCE)
            often.kill()
            lose_machine(data)
            start(often, "the loss of its machine, with a fresh checkpoint")
        finally:
            node.kill()
            often.kill()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
