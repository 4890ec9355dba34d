"""What `ratified diagnose` makes of pages of metrics: rules that are not staged on real processes."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from ratified.cli.findings import ClusterView, Finding, findings
from ratified.cli.member_view import MemberView, Page

BEGAN_S, WINDOW_S = 100.0, 2.0


def page(name: str, at_s: float, **values: float) -> str:
    """A page of a member that is well, but for these values; ``__`` stands between a name and its label's value."""
    labels = {
        "etcd_server_has_leader": 1.0,
        "ratified_clock_seconds__boottime": at_s,
        "ratified_group_applied_index__0": 5000.0,
        "ratified_group_commit_index__0": 5000.0,
        "ratified_group_voters__0": 3.0,
    }
    known = {"voters": "group", "clock": "clock", "stopped": "group", "commit": "group", "applied": "group"}
    known["alarm"] = f'of="{name}1",alarm'
    lines = [f'ratified_member_info{{name="{name}",member="{name}1",cluster="c",engine="raft"}} 1']
    lines += [f'etcd_network_active_peers{{Local="x",Remote="{other}1"}} 1' for other in "abc"]
    for key, value in {**labels, **values}.items():
        metric, _, label = key.partition("__")
        key_of = next((each for word, each in known.items() if word in metric), "le")
        key_of = "To" if "round_trip" in metric and label == "b1" else key_of
        key_of = "limit" if "limit" in metric else key_of
        lines.append(f'{metric}{{{key_of}="{label}"}} {value}' if label else f"{metric} {value}")
    return "\n".join([*lines, ""])


def member(name: str, first: dict[str, float] | None = None, last: dict[str, float] | None = None) -> MemberView:
    view = MemberView(url=f"http://{name}:2379")
    view.pages = (
        Page(page(name, BEGAN_S, **(first or {})), BEGAN_S, BEGAN_S + 0.01, 0.0),
        Page(page(name, BEGAN_S + WINDOW_S, **(last or {})), BEGAN_S + WINDOW_S, BEGAN_S + WINDOW_S + 0.01, 0.0),
    )
    return view


def found(*members: MemberView) -> list[Finding]:
    others = [member(name) for name in "abc" if name not in {each.name for each in members}]
    now = datetime(2030, 1, 1, tzinfo=UTC)
    view = ClusterView(members=[*members, *others], writes=Counter(), window_s=WINDOW_S, now=now)
    return findings(view)


def test_nothing_is_wrong_with_members_that_are_well() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("quota", {"etcd_mvcc_db_total_size_in_bytes": 96e6, "etcd_server_quota_backend_bytes": 100e6}),
        ("stopped", {"ratified_group_stopped__0": 1}),
        ("not-begun", {"ratified_awaited_members": 2}),
        ("no-leader", {"etcd_server_has_leader": 0}),
        ("client-limit", {"ratified_client_limit_passed_total__connections": 1}),
        ("clock", {"ratified_clock_seconds__boottime": BEGAN_S + 1.2 * WINDOW_S}),
        ("lagging", {"ratified_group_applied_index__0": 100}),
        ("no-space", {"ratified_alarm__NOSPACE": 1}),
        ("corrupt", {"ratified_alarm__CORRUPT": 1}),
    ],
)
def test_what_one_page_says(kind: str, last: dict[str, float]) -> None:
    (finding,) = found(member("a", {}, last))
    assert finding.kind == kind
    assert finding.members == ["a"]
    assert finding.text.endswith(".")
    assert finding.remedy.endswith(".")


def test_a_clock_is_no_wronger_than_the_way_of_the_answer_allows() -> None:
    assert found(member("a", {}, {"ratified_clock_seconds__boottime": BEGAN_S + WINDOW_S + 0.05})) == []


@pytest.mark.parametrize(("slow", "count", "wrong"), [(10, 200, True), (9, 200, False), (10, 20, False)])
def test_where_nothing_is_written_all_syncs_so_far_tell_of_a_slow_disk(slow: int, count: int, wrong: bool) -> None:
    name = "etcd_disk_wal_fsync_duration_seconds"
    values: dict[str, float] = {f"{name}_count": count, f"{name}_bucket__0.128": count - slow}
    assert [each.kind for each in found(member("a", values, values))] == (["slow-disk"] if wrong else [])


def test_a_member_that_is_silent_is_not_said_to_be_split_from_the_others() -> None:
    silent = MemberView(url="http://c:2379", problem="refused")
    assert [each.kind for each in found(member("a"), member("b"), silent)] == ["member-down"]
