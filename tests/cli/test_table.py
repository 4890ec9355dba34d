"""What ``ratified up`` shows."""

from __future__ import annotations

import io

from rich.console import Console

from ratified.cli.table import Rates, Row, plain_line, size_text, table
from ratified.wire.report import NodeReport


def row(name: str, *, role: str = "follower", leader: str = "node1", operations: int = 0) -> Row:
    report = NodeReport(
        name=name,
        member="1",
        role=role,
        term=3,
        leader=leader,
        commit=9,
        applied=8,
        log_bytes=2048,
        operations=operations,
    )
    return Row(name, "127.0.0.1:1", report)


def test_rates_count_from_look_to_look_and_begin_anew_after_a_restart() -> None:
    rates = Rates()
    assert rates.rate(row("a", operations=100), 1.0) == 0
    assert rates.rate(row("a", operations=200), 3.0) == 50
    assert rates.rate(row("a", operations=5), 4.0) == 0
    assert rates.rate(Row("a", "", None, "down"), 5.0) == 0
    assert rates.rate(row("a", operations=50), 6.0) == 0


def test_sizes_are_for_people() -> None:
    assert [size_text(size) for size in (0, 1023, 1536, 5 << 20, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 MiB",
        "3072.0 GiB",
    ]


def test_plain_lines_say_role_term_and_leader() -> None:
    assert plain_line(row("node2")) == "node2: follower, term 3, leader node1"
    assert plain_line(row("node2", leader="")) == "node2: follower, term 3, leader none"
    assert plain_line(Row("node2", "", None, "does not answer")) == "node2: does not answer"


def test_the_table_has_a_line_for_every_node() -> None:
    out = io.StringIO()
    rows = [row("node1", role="leader"), row("node2"), Row("node3", "127.0.0.1:3", None, "does not answer")]
    Console(file=out, width=120).print(table(rows, [10.0, 0.0, 0.0]))
    lines = out.getvalue().splitlines()
    assert [word in line for line in lines if "node1 " in line[:9] for word in ("leader", "2.0 KiB", "10")] == [
        True
    ] * 3
    assert any("node3" in line and "does not answer" in line for line in lines)
