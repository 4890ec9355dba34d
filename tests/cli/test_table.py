"""What ``ratified up`` shows."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ratified.cli.table import PlainLines, Rates, Row, plain_line, size_text, table
from ratified.wire.report import NodeReport

TERM_3 = {"term": "3", "ignored: stale": "1"}


def row(
    name: str,
    *,
    role: str = "follower",
    leader: str = "node1",
    operations: int = 0,
    words: dict[str, str] = TERM_3,
) -> Row:
    report = NodeReport(
        name=name,
        member="1",
        role=role,
        term=3,
        words=words,
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


def test_each_protocols_own_words_are_shown_and_not_what_it_ignored() -> None:
    zab = row("node1", words={"epoch": "4", "zxid": "0x4001b", "ignored: x": "2"})
    assert plain_line(zab) == "node1: follower, epoch 4, zxid 0x4001b, leader node1"
    out = io.StringIO()
    Console(file=out, width=160).print(table([zab, Row("node2", "127.0.0.1:2", None, "down")], [0.0, 0.0]))
    assert all(word in out.getvalue() for word in ("epoch", "zxid", "0x4001b"))
    assert "ignored" not in out.getvalue()


def test_plain_lines_are_printed_when_role_era_or_leader_change_and_not_with_every_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = PlainLines()
    first = row("node1")
    more = row("node1", words={"term": "3", "zxid": "0x30001"})
    for shown in (first, first, more, row("node1", leader="node2")):
        lines.show([shown], 0.0)
    assert len(capsys.readouterr().out.splitlines()) == 2


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
