"""What is wrong with a cluster, in plain words: each rule is a function of what its members have shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from statistics import median
from typing import Literal

import msgspec

from ratified.cli.member_view import MemberView, Page

SLOW_SYNC_S = 0.128
SLOW_SYNCS_SHARE = 0.05
"""So large a share of syncs that take longer is too much."""
SYNCS_MIN = 100
"""Where nothing is written meanwhile, all syncs since a member's start are looked at, if there are so many."""
CLOCK_S_MAX = 1.0
"""How far clocks may be apart."""
CLOCK_DRIFT_MAX = 0.05
"""How much faster or slower one may be: half of what ``--clock-drift`` takes for granted."""
LAG_ENTRIES = 1000
HOT_WRITES_A_SECOND = 50
HOT_SHARE = 0.5
WATCHERS_MANY = 10_000
ROUND_TRIP_S = 0.1024
CERTIFICATE_DAYS = 14
STORE_SHARE = 0.95

Severity = Literal["error", "warning"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    kind: str
    severity: Severity
    members: Sequence[str]
    text: str
    remedy: str


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen."""

    members: Sequence[MemberView]
    writes: Counter[str]
    """How often each key was written meanwhile."""
    window_s: float
    now: datetime

    @property
    def answering(self) -> list[MemberView]:
        return [member for member in self.members if member.pages is not None]

    @property
    def own(self) -> list[MemberView]:
        """Those of the cluster to which most belong that answer."""
        clusters = Counter(member.info["cluster"] for member in self.answering)
        cluster = max(clusters, key=lambda each: clusters[each], default="")
        return [member for member in self.answering if member.info["cluster"] == cluster]

    @property
    def voters(self) -> int:
        known = [member.last.value("ratified_group_voters", group="0") for member in self.own]
        return int(max((each for each in known if each is not None), default=len(self.members)))


def findings(cluster: ClusterView) -> list[Finding]:
    """All that is wrong, errors first."""
    found = [finding for rule in RULES for finding in rule(cluster)]
    return sorted(found, key=lambda finding: finding.severity)


def silent(cluster: ClusterView) -> Iterator[Finding]:
    for member in cluster.members:
        if member.problem is not None:
            yield _error(
                "member-down",
                [member.name],
                f"{member.url} does not answer: {member.problem}.",
                "Start the member, or look at the way there; if its machine is lost: `ratified member replace`.",
            )


def no_quorum(cluster: ClusterView) -> Iterator[Finding]:
    own, voters = cluster.own, cluster.voters
    led = [member for member in own if member.last.value("etcd_server_has_leader")]
    if own and not led:
        yield _error(
            "no-quorum",
            [member.name for member in own],
            f"No member that answers knows of a leader, and {len(own)} of {voters} voters answer: nothing can be"
            " written, and nothing read but by serializable reads.",
            "Start the members that are down, or mend the network between them. If a majority is lost for good:"
            " `ratified recover`.",
        )
        return
    cut_off = [member.name for member in own if member not in led]
    if cut_off:
        yield _error(
            "no-leader",
            cut_off,
            f"{_list(cut_off)} knows of no leader, while others do.",
            "Look at the network between it and the others.",
        )


def other_cluster(cluster: ClusterView) -> Iterator[Finding]:
    own = cluster.own
    for member in cluster.answering:
        if member not in own:
            yield _error(
                "other-cluster",
                [member.name],
                f"{member.name} at {member.url} belongs to cluster {member.info['cluster']}, the others to"
                f" {own[0].info['cluster']}.",
                "Its --initial-cluster-token or --initial-cluster is another one: start it with those of the others,"
                " and an empty data directory.",
            )


def split(cluster: ClusterView) -> Iterator[Finding]:
    for one, other in combinations(cluster.own, 2):
        ways = [_reaches(one, other), _reaches(other, one)]
        if not all(ways):
            yield _error(
                "split",
                [one.name, other.name],
                f"{one.name} and {other.name} both answer, and do not reach each other.",
                "Look at the network, firewalls and certificates between their peer URLs; their logs say what fails.",
            )


def stopped(cluster: ClusterView) -> Iterator[Finding]:
    for member in cluster.own:
        groups = [labels["group"] for labels, value in member.last.rows("ratified_group_stopped") if value]
        if groups:
            yield _error(
                "stopped",
                [member.name],
                f"{member.name} has stopped applying what is written (group {_list(groups)}).",
                "Its log says why, and what to do.",
            )


def waiting(cluster: ClusterView) -> Iterator[Finding]:
    for member in cluster.own:
        if member.last.value("ratified_awaited_members"):
            yield _error(
                "not-begun",
                [member.name],
                f"{member.name} is new and waits for other members before it begins.",
                "All members of a new cluster must run at the same time once, each reachable at its peer URL.",
            )


def full_disk(cluster: ClusterView) -> Iterator[Finding]:
    for member in cluster.own:
        free = member.last.value("ratified_disk_free_bytes")
        least = member.last.value("ratified_disk_free_bytes_min")
        if free is not None and least is not None and free < least:
            yield _error(
                "full-disk",
                [member.name],
                f"The disk of {member.name} has {_mib(free)} left, less than {_mib(least)}: it leads no more, and where"
                " a majority has no room writes are refused.",
                "Free some room on it.",
            )


def quota(cluster: ClusterView) -> Iterator[Finding]:
    for member in cluster.own[:1]:
        size = member.last.value("etcd_mvcc_db_total_size_in_bytes")
        most = member.last.value("etcd_server_quota_backend_bytes")
        if size is not None and most and size > STORE_SHARE * most:
            yield _error(
                "quota",
                [member.name],
                f"The store takes {_mib(size)} of {_mib(most)}, its quota; beyond it writes are refused.",
                "Delete keys and compact, or raise --quota-backend-bytes on all members.",
            )


def alarms(cluster: ClusterView) -> Iterator[Finding]:
    names = {member.info["member"]: member.name for member in cluster.own}
    for labels, _ in cluster.own[0].last.rows("ratified_alarm") if cluster.own else ():
        name = names.get(labels["of"], f"member {labels['of']}")
        if labels["alarm"] == "CORRUPT":
            yield _error(
                "corrupt",
                [name],
                f"The data of {name} differs from that of the others, and keys and leases are changed no more.",
                "Stop it, remove it from the cluster and add it anew with an empty data directory; then `ratified alarm"
                " disarm`.",
            )
        else:
            yield _error(
                "no-space",
                [name],
                f"The store of {name} was larger than its quota, and nothing that makes stores grow is taken any more.",
                "Delete keys, compact and defrag, or raise --quota-backend-bytes on all members; then `ratified alarm"
                " disarm`.",
            )


def slow_disk(cluster: ClusterView) -> Iterator[Finding]:
    name = "etcd_disk_wal_fsync_duration_seconds"
    for member in cluster.own:
        meanwhile = member.grown(f"{name}_count")
        slow, count = _slower(member, name, SLOW_SYNC_S, whole=meanwhile == 0)
        if count and slow >= SLOW_SYNCS_SHARE * count and (meanwhile or count >= SYNCS_MIN):
            yield _error(
                "slow-disk",
                [member.name],
                f"{slow:.0f} of {count:.0f} syncs of the log of {member.name} took longer than {SLOW_SYNC_S * 1000:.0f}"
                " ms.",
                "Look at what else uses its disk, and at the disk's health; give the data directory a disk of its own.",
            )


def clocks(cluster: ClusterView) -> Iterator[Finding]:
    ahead = {member.name: _ahead_s(member.last) for member in cluster.own}
    middle = median([0.0, *ahead.values()])
    for name, seconds in ahead.items():
        if abs(seconds - middle) > CLOCK_S_MAX:
            off = f"{abs(seconds - middle):.1f} s {'ahead of' if seconds > middle else 'behind'}"
            yield _error(
                "clock",
                [name],
                f"The clock of {name} is {off} the others.",
                "Have it kept by NTP. Certificates and logs go by it; nothing that is stored does.",
            )
    for member in cluster.own:
        rate = _clock_rate(member)
        if abs(rate - 1) > CLOCK_DRIFT_MAX:
            yield _error(
                "clock",
                [member.name],
                f"The clock of {member.name} runs {rate:.2f} times as fast as this machine's.",
                "Leases and time-outs go by it: find out what its machine does to its clock.",
            )


def lagging(cluster: ClusterView) -> Iterator[Finding]:
    commits = [member.last.value("ratified_group_commit_index", group="0") for member in cluster.own]
    committed = max((each or 0.0 for each in commits), default=0.0)
    for member in cluster.own:
        behind = committed - (member.last.value("ratified_group_applied_index", group="0") or 0.0)
        if behind > LAG_ENTRIES:
            yield _error(
                "lagging",
                [member.name],
                f"{member.name} is {behind:.0f} writes behind the others.",
                "It catches up by itself where its link, disk and processor are fast enough: look at these.",
            )


def slow_link(cluster: ClusterView) -> Iterator[Finding]:
    name = "etcd_network_peer_round_trip_time_seconds"
    called = {member.info["member"]: member.name for member in cluster.own}
    for member in cluster.own:
        for labels, _ in member.last.rows(f"{name}_count"):
            slow, count = _slower(member, name, ROUND_TRIP_S, To=labels["To"])
            if count >= 2 and slow > count / 2:
                other = called.get(labels["To"], labels["To"])
                yield _warning(
                    "slow-link",
                    [member.name, other],
                    f"From {member.name} to {other} and back takes more than {ROUND_TRIP_S * 1000:.0f} ms.",
                    "Look at the link, and at how busy both processes are; with long links raise --heartbeat-interval"
                    " and --election-timeout.",
                )


def hot_key(cluster: ClusterView) -> Iterator[Finding]:
    total = sum(cluster.writes.values())
    for key, count in cluster.writes.most_common(1):
        if count >= HOT_SHARE * total and count >= HOT_WRITES_A_SECOND * cluster.window_s:
            yield _warning(
                "hot-key",
                [],
                f"{100 * count / total:.0f} percent of {total / cluster.window_s:.0f} writes a second are of the key"
                f" {key!r}.",
                "Writes of one key are done one after another: find out who writes it, and spread it over several.",
            )


def watchers(cluster: ClusterView) -> Iterator[Finding]:
    for member in cluster.own:
        count = member.last.value("etcd_debugging_mvcc_watcher_total") or 0.0
        if count > WATCHERS_MANY:
            yield _warning(
                "watchers",
                [member.name],
                f"{member.name} has {count:.0f} watches open, more than {WATCHERS_MANY}.",
                "Find out which client opens so many: a watch of a prefix does for all keys below it.",
            )


def limits(cluster: ClusterView) -> Iterator[Finding]:
    name = "ratified_client_limit_passed_total"
    for member in cluster.own:
        passed = [labels["limit"] for labels, _ in member.last.rows(name) if member.grown(name, **labels)]
        if passed:
            yield _warning(
                "client-limit",
                [member.name],
                f"Clients of {member.name} want more than it gives: {_list(passed)}.",
                "docs/serving.md says what each limit is.",
            )


def certificates(cluster: ClusterView) -> Iterator[Finding]:
    soon = cluster.now + timedelta(days=CERTIFICATE_DAYS)
    for member in cluster.members:
        ends = member.certificate_ends
        if ends is not None and ends <= cluster.now:
            yield _error(
                "certificate",
                [member.name],
                f"The certificate of {member.name} at {member.url} has expired on {ends:%Y-%m-%d %H:%M} UTC.",
                "Put a new one in its place: the member reads it within a second.",
            )
        elif ends is not None and ends <= soon:
            yield _warning(
                "certificate",
                [member.name],
                f"The certificate of {member.name} at {member.url} expires on {ends:%Y-%m-%d %H:%M} UTC.",
                "Put a new one in its place: the member reads it within a second.",
            )
        if member.untrusted is not None:
            yield _error(
                "certificate",
                [member.name],
                f"The certificate of {member.name} at {member.url} is not to be believed: {member.untrusted}.",
                "Give the right CA with --cacert, or make the member a certificate for this address.",
            )


RULES: Sequence[Callable[[ClusterView], Iterator[Finding]]] = (
    no_quorum,
    silent,
    other_cluster,
    split,
    waiting,
    stopped,
    certificates,
    full_disk,
    quota,
    alarms,
    slow_disk,
    clocks,
    lagging,
    slow_link,
    hot_key,
    watchers,
    limits,
)


def _error(kind: str, members: Sequence[str], text: str, remedy: str) -> Finding:
    return Finding(kind=kind, severity="error", members=members, text=text, remedy=remedy)


def _warning(kind: str, members: Sequence[str], text: str, remedy: str) -> Finding:
    return Finding(kind=kind, severity="warning", members=members, text=text, remedy=remedy)


def _reaches(one: MemberView, other: MemberView) -> bool:
    assert one.pages is not None, "only of a member that answers"
    remote = other.info["member"]
    return any(page.value("etcd_network_active_peers", Remote=remote) for page in one.pages)


def _slower(member: MemberView, name: str, than_s: float, *, whole: bool = False, **labels: str) -> tuple[float, float]:
    """How many took longer than this bound of a class, and how many there were: meanwhile, or of the whole."""
    if whole:
        count = member.last.value(f"{name}_count", **labels) or 0.0
        return count - (member.last.value(f"{name}_bucket", le=f"{than_s:g}", **labels) or 0.0), count
    count = member.grown(f"{name}_count", **labels)
    return count - member.grown(f"{name}_bucket", le=f"{than_s:g}", **labels), count


def _ahead_s(page: Page) -> float:
    """Of our own clock; what the answer's way may have taken does not count."""
    wall = page.value("ratified_clock_seconds", clock="wall")
    return 0.0 if wall is None else wall - page.wall_s


def _clock_rate(member: MemberView) -> float:
    """How much faster than ours its clock ran between the pages, as far as it must be that."""
    assert member.pages is not None, "only of a member that answers"
    first, last = member.pages
    began = first.value("ratified_clock_seconds", clock="boottime")
    ended = last.value("ratified_clock_seconds", clock="boottime")
    if began is None or ended is None:
        return 1.0
    least, most = last.asked_s - first.answered_s, last.answered_s - first.asked_s
    took = min(max(ended - began, least), most)
    return (ended - began) / took


def _mib(size: float) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def _list(words: Sequence[str]) -> str:
    return ", ".join(words)


def now() -> datetime:
    return datetime.now(UTC)
