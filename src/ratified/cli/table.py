"""How ``ratified up`` shows its nodes: a live table on a terminal, else a line whenever something has changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ratified.wire.report import IGNORED, NodeReport


class Row(NamedTuple):
    """One node: its report, or None where it did not answer, and then why."""

    name: str
    endpoint: str
    report: NodeReport | None
    why: str = ""


class Rates:
    """Operations a second of each node, between two looks."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}

    def rate(self, row: Row, now_s: float) -> float:
        """Since the last look; 0 at the first one and after a restart."""
        if row.report is None:
            self._last.pop(row.name, None)
            return 0.0
        operations = row.report.operations
        then_s, before = self._last.get(row.name, (now_s, operations))
        self._last[row.name] = (now_s, operations)
        return max(operations - before, 0) / (now_s - then_s) if now_s > then_s else 0.0


def size_text(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("the last unit has no bound")


def word_headings(reports: Iterable[NodeReport]) -> list[str]:
    """The names of the protocol's own words in these reports: term; ballot; epoch and zxid.

    What an engine ignored is counted among the words too; that is for whoever asks for all of them.
    """
    names = dict.fromkeys(name for report in reports for name in report.words)
    return [name for name in names if not name.startswith(IGNORED)]


def table(rows: Sequence[Row], rates: Sequence[float]) -> Table:
    """All nodes; between role and leader a column for each of the protocol's own words."""
    headings = word_headings(row.report for row in rows if row.report is not None)
    drawn = Table(title="ratified", title_justify="left", caption="Ctrl-C stops all nodes", caption_justify="left")
    for heading in ("node", "clients", "role", *headings, "leader"):
        drawn.add_column(heading)
    for heading in ("commit", "applied", "log", "ops/s"):
        drawn.add_column(heading, justify="right")
    for row, rate in zip(rows, rates, strict=True):
        report = row.report
        if report is None:
            drawn.add_row(row.name, row.endpoint, f"[red]{row.why}[/red]", *[""] * (5 + len(headings)))
            continue
        role = f"[bold green]{report.role}[/bold green]" if report.leader == row.name else report.role
        drawn.add_row(
            row.name,
            row.endpoint,
            role,
            *(report.words.get(heading, "") for heading in headings),
            report.leader or "[red]none[/red]",
            str(report.commit),
            str(report.applied),
            size_text(report.log_bytes),
            f"{rate:.0f}",
        )
    return drawn


class LiveTable:
    """The table, redrawn in place."""

    def __init__(self, console: Console | None = None) -> None:
        self._rates = Rates()
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, rows: Sequence[Row], now_s: float) -> None:
        self._live.update(table(rows, [self._rates.rate(row, now_s) for row in rows]), refresh=True)


class PlainLines:
    """For pipes and logs: one line a node, when its role, era or leader has changed."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[object, ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._last.clear()

    def show(self, rows: Sequence[Row], now_s: float) -> None:
        for row in rows:
            report = row.report
            now = (row.why,) if report is None else (report.role, report.term, report.leader)
            if self._last.get(row.name) != now:
                self._last[row.name] = now
                print(plain_line(row), flush=True)


def plain_line(row: Row) -> str:
    """A node's role, its protocol's own words, and its leader."""
    if row.report is None:
        return f"{row.name}: {row.why}"
    return ", ".join([f"{row.name}: {row.report.role}", *row.report.own_words, f"leader {row.report.leader or 'none'}"])
