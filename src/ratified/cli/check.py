"""``ratified check perf``: does the cluster keep up with a load, and how long do writes take?"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import typer

from ratified.cli.connection import Connection, asks_members
from ratified.cli.output import AS_JSON, print_json

if TYPE_CHECKING:
    from ratified.client import AsyncClient

VALUE_BYTES = 1024
KEPT_UP = 0.9
"""The share of the load's writes a second that must be reached."""
SLOWEST_S_MAX = 0.5
DEVIATION_S_MAX = 0.1
CLEAN_UP_KEYS = 1000


class Load(StrEnum):
    S = "s"
    M = "m"
    L = "l"
    XL = "xl"


LOAD = typer.Option(Load.S, "--load", help="How much to write: 150, 1000, 8000 or 15000 keys a second.")


class Size(NamedTuple):
    """Writes a second that are tried, by so many clients."""

    writes_per_s: int
    clients: int


SIZES = {Load.S: Size(150, 50), Load.M: Size(1000, 200), Load.L: Size(8000, 500), Load.XL: Size(15000, 1000)}
"""As ``etcdctl check perf`` has them."""


class Measured(NamedTuple):
    """``took_s`` of every write that was done."""

    seconds: float
    took_s: list[float]
    failed: list[str]

    @property
    def writes_per_s(self) -> float:
        return len(self.took_s) / self.seconds


def register(app: typer.Typer) -> None:
    check = typer.Typer(help="Check a running cluster.")
    check.callback()(lambda: None)
    check.command()(perf)
    app.add_typer(check, name="check")


@asks_members
def perf(
    load: Load = LOAD,
    seconds: float = typer.Option(60.0, "--seconds", help="For how long.", min=0.1),
    prefix: str = typer.Option("ratified-check-perf/", "--prefix", help="Where to write; deleted afterwards."),
    *,
    connection: Connection,
    as_json: bool = AS_JSON,
) -> None:
    """Write keys of 1 KiB at a steady rate, and say whether the cluster keeps up. Exits with 1 where it does not.

    It passes where nine tenths of the writes are done in time, none takes longer than 0.5 s, and the standard
    deviation is below 0.1 s: the limits of `etcdctl check perf`.

    \b
    Example:
      ratified check perf --load m --seconds 20
    """
    with connection.failures():
        measured = asyncio.run(_measure(connection, SIZES[load], seconds, prefix, quiet=as_json))
    verdicts = _verdicts(measured, SIZES[load])
    passed = all(good for good, _ in verdicts)
    if as_json:
        print_json(
            {
                "passed": passed,
                "writes_per_s": round(measured.writes_per_s, 1),
                "slowest_s": round(max(measured.took_s, default=0.0), 6),
                "deviation_s": round(statistics.pstdev(measured.took_s or [0.0]), 6),
                "failed": len(measured.failed),
            }
        )
    else:
        for good, text in verdicts:
            typer.echo(f"{'PASS' if good else 'FAIL'}: {text}")
        typer.echo("PASS" if passed else "FAIL")
    if not passed:
        raise typer.Exit(1)


def _verdicts(measured: Measured, size: Size) -> list[tuple[bool, str]]:
    slowest = max(measured.took_s, default=0.0)
    deviation = statistics.pstdev(measured.took_s or [0.0])
    wanted = size.writes_per_s * KEPT_UP
    return [
        (
            measured.writes_per_s >= wanted,
            f"{measured.writes_per_s:.0f} writes/s of {size.writes_per_s}, at least {wanted:.0f} wanted",
        ),
        (slowest <= SLOWEST_S_MAX, f"the slowest write took {slowest:.3f} s, at most {SLOWEST_S_MAX} s wanted"),
        (deviation <= DEVIATION_S_MAX, f"standard deviation {deviation:.3f} s, at most {DEVIATION_S_MAX} s wanted"),
        (
            not measured.failed,
            f"{len(measured.failed)} writes failed" + (f", first: {measured.failed[0]}" if measured.failed else ""),
        ),
    ]


async def _measure(connection: Connection, size: Size, seconds: float, prefix: str, *, quiet: bool) -> Measured:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    async with connection.async_client() as client:
        with Progress(console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
            task = progress.add_task("writing", total=size.writes_per_s * seconds)
            try:
                return await _write(client, size, seconds, prefix, lambda: progress.advance(task))
            finally:
                await _clean_up(client, prefix)


async def _write(client: AsyncClient, size: Size, seconds: float, prefix: str, wrote: Callable[[], None]) -> Measured:
    """Each client writes when its turn comes, and does not wait for the others'; one that is late goes on at once."""
    from ratified.client import ClientError

    value = os.urandom(VALUE_BYTES)
    took_s: list[float] = []
    failed: list[str] = []
    interval_s = size.clients / size.writes_per_s
    began = time.monotonic()

    async def writer(number: int) -> None:
        due = began + interval_s * number / size.clients
        turn = 0
        while due < began + seconds and time.monotonic() < began + seconds:
            await asyncio.sleep(due - time.monotonic())
            sent = time.monotonic()
            try:
                await client.put(f"{prefix}{number}/{turn}", value)
                took_s.append(time.monotonic() - sent)
            except ClientError as error:
                failed.append(error.text)
            wrote()
            turn += 1
            due += interval_s

    await asyncio.gather(*(writer(number) for number in range(size.clients)))
    return Measured(max(time.monotonic() - began, seconds), took_s, failed)


async def _clean_up(client: AsyncClient, prefix: str) -> None:
    """In slices, so that nobody waits for one long deletion."""
    async for page in client.pages(prefix, prefix=True, page_keys=CLEAN_UP_KEYS, keys_only=True):
        if page.pairs:
            await client.delete(page.pairs[0].key, end=page.pairs[-1].key + b"\0")
