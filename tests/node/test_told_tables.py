"""Members in session tell each other the cluster table: whom they meet, who was away while others came and went."""

from __future__ import annotations

from unittest.mock import patch

import msgspec
import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.changes import AddMember, RemoveMember, encode_asked
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import (
    Add,
    Bind,
    Change,
    ClusterTable,
    Context,
    Leave,
    Readdress,
    Remove,
    changed,
    encode_table,
    first_table,
)
from ratified.node.ports import Outcome, TransferLead, Work
from ratified.storage.format import ClusterRecord, PeerRecord
from ratified.wire.peer import TABLES_SINCE, Goodbye, OwnTable
from tests.node.cluster import SECOND, Cluster
from tests.node.test_peers import (
    CONFIG,
    HELD,
    OTHERS,
    Timed,
    challenges,
    greeted,
    hello,
    in_session,
    peers,
    reason,
    sent,
)

FIRST = first_table(CONFIG.names, CONFIG.peer_urls)
NEW = b"4" * 16


def table_after(*changes: Change | Context) -> ClusterTable:
    table = FIRST
    for index, change in enumerate(changes, 1):
        table, refusal = changed(table, index, change)
        assert not refusal
    return table


WITH_FOUR = table_after(Add(4, ("http://four",), votes_soon=True), Bind(4, NEW))
WITHOUT_THREE = table_after(Add(4, ("http://four",), votes_soon=True), Bind(4, NEW), Remove(3), Leave(3))


def own_table_is(made: Timed, table: ClusterTable, now: int = 0) -> None:
    made.cluster.recorded(ClusterRecord(table.index, encode_table(table)))
    made.table_changed(now)


def tables(made: Timed, connection: int) -> list[OwnTable]:
    return [frame for frame in sent(made, connection) if isinstance(frame, OwnTable)]


def told_by_one(made: Timed, table: ClusterTable) -> None:
    """Member 1 answers at its own address, and tells this table."""
    in_session(made, 10, hello(), dialled=1)
    made.received(0, 10, OwnTable(encode_table(table)))


# ---- who tells whom


def test_a_table_is_told_when_a_session_opens_and_when_it_has_changed() -> None:
    made = peers()
    own_table_is(made, WITH_FOUR)
    in_session(made, 1, hello())
    assert tables(made, 1) == [OwnTable(encode_table(WITH_FOUR))]
    own_table_is(made, WITH_FOUR)
    assert tables(made, 1) == []
    own_table_is(made, WITHOUT_THREE)
    assert tables(made, 1) == [OwnTable(encode_table(WITHOUT_THREE))]


def test_the_first_table_and_what_the_other_one_has_told_is_not_told() -> None:
    made = peers()
    told_by_one(made, WITH_FOUR)
    own_table_is(made, WITH_FOUR)
    assert tables(made, 10) == []


def test_nobody_tells_what_it_was_told() -> None:
    """Only what the log has said is told: it is durable, and later than nothing that the teller has applied."""
    made = peers()
    in_session(made, 2, hello(member=3, directory=HELD[3].directory))
    told_by_one(made, WITH_FOUR)
    assert tables(made, 2) == []


@pytest.mark.parametrize(("theirs", "tells"), [(TABLES_SINCE - 1, False), (TABLES_SINCE, True)])
def test_tables_go_to_members_that_know_them(theirs: int, tells: bool) -> None:
    made = peers()
    own_table_is(made, WITH_FOUR)
    in_session(made, 1, hello(version_min=TABLES_SINCE - 1, version_max=theirs))
    assert bool(tables(made, 1)) is tells


# ---- what is believed


def test_an_unknown_member_is_met_once_a_table_says_that_it_is_one() -> None:
    made = peers()
    unknown = hello(member=4, directory=NEW)
    assert "is not a member of this cluster" in reason(greeted(made, 4, unknown))
    told_by_one(made, WITH_FOUR)
    assert made.sync() == [PeerRecord(1, OTHERS, 5, 11), PeerRecord(4, NEW)]
    in_session(made, 5, unknown)
    assert made.session(4) is not None
    assert challenges(made) == [4]


def test_with_another_directory_than_the_table_binds_it_is_not() -> None:
    made = peers()
    told_by_one(made, WITH_FOUR)
    assert "comes with another data directory" in reason(greeted(made, 5, hello(member=4, directory=b"5" * 16)))


def test_while_no_directory_is_bound_it_gets_no_session() -> None:
    made = peers()
    told_by_one(made, table_after(Add(4, ("http://four",), votes_soon=True)))
    in_session(made, 5, hello(member=4, directory=NEW))
    assert made.session(4) is None


def test_who_has_left_by_a_told_table_is_refused_and_said_so() -> None:
    made = peers()
    in_session(made, 3, hello(member=3, directory=HELD[3].directory))
    sent(made, 3)
    told_by_one(made, WITHOUT_THREE)
    (goodbye,) = sent(made, 3)
    assert isinstance(goodbye, Goodbye)
    assert goodbye.removed


def test_of_a_member_that_has_moved_the_later_address_counts() -> None:
    made = peers()
    told_by_one(made, table_after(Readdress(3, ("http://elsewhere",))))
    assert made.cluster.latest.members[3].peer_urls == ("http://elsewhere",)
    assert made.cluster.table == FIRST


def test_who_has_dialled_us_is_not_believed_whatever_it_claims_and_is_dialled_after_a_while() -> None:
    """Whoever has heard a member's Hello can say the same; at that member's address it cannot answer."""
    made = peers()
    in_session(made, 1, hello())
    made.challenged(0, 1, hello())
    made.received(0, 1, OwnTable(encode_table(WITH_FOUR)))
    assert made.cluster.latest == FIRST
    sent(made, 1, CONFIG.election_timeout_us - 1)
    assert not made.missed
    sent(made, 1, CONFIG.election_timeout_us)
    assert list(made.missed) == [1]
    told_by_one(made, WITH_FOUR)
    assert made.cluster.latest == WITH_FOUR
    assert not made.missed


def test_who_tells_later_tables_all_the_time_is_dialled_as_soon_as_who_tells_one() -> None:
    """The time counts from the first that was news."""
    made = peers()
    in_session(made, 1, hello())
    made.received(0, 1, OwnTable(encode_table(WITH_FOUR)))
    made.received(CONFIG.election_timeout_us // 2, 1, OwnTable(encode_table(WITHOUT_THREE)))
    sent(made, 1, CONFIG.election_timeout_us)
    assert list(made.missed) == [1]


def test_it_is_not_dialled_where_the_log_has_brought_the_table_meanwhile() -> None:
    made = peers()
    in_session(made, 1, hello())
    made.received(0, 1, OwnTable(encode_table(WITH_FOUR)))
    own_table_is(made, WITH_FOUR)
    sent(made, 1, CONFIG.election_timeout_us)
    assert not made.missed


def test_a_table_without_this_member_changes_nothing() -> None:
    """That this one has left is said with a Goodbye, by a member at its own address."""
    made = peers()
    told_by_one(made, table_after(Remove(2), Leave(2)))
    assert made.cluster.latest == FIRST
    assert not made.removed


def test_what_is_no_table_ends_the_connection_and_so_does_one_before_the_handshake() -> None:
    made = peers()
    told_by_one(made, FIRST)
    made.received(0, 10, OwnTable(b"no table"))
    (goodbye,) = sent(made, 10)
    assert isinstance(goodbye, Goodbye)
    assert goodbye.reason.startswith("the cluster table does not read")
    greeted(made, 2, hello())
    made.received(0, 2, OwnTable(encode_table(WITH_FOUR)))
    assert sent(made, 2) == [Goodbye("a cluster table before the handshake")]
    rows = {**FIRST.members, 4: msgspec.structs.replace(FIRST.members[1], directory=b"short")}
    told_by_one(made, FIRST)
    made.received(0, 10, OwnTable(encode_table(ClusterTable(9, rows))))
    assert made.cluster.latest == FIRST


# ---- until the own table is as late


def test_the_own_table_is_untouched_and_takes_over_when_it_is_as_late() -> None:
    written: list[ClusterRecord] = []
    cluster = ClusterLog(written.append, FIRST, None)
    assert cluster.tell(WITH_FOUR)
    assert not cluster.tell(WITH_FOUR)
    assert (cluster.table, cluster.latest, written) == (FIRST, WITH_FOUR, [])
    before = table_after(Add(4, ("http://four",), votes_soon=True))
    cluster.recorded(ClusterRecord(1, encode_table(before)))
    assert (cluster.table, cluster.latest) == (before, WITH_FOUR)
    cluster.recorded(ClusterRecord(2, encode_table(WITH_FOUR)))
    assert cluster.latest is cluster.table
    assert not cluster.tell(before)


# ---- in whole nodes


def ask(cluster: Cluster, asked: AddMember | RemoveMember) -> None:
    token = cluster.submit(cluster.leader(), encode_asked(asked), Work.MEMBERS, timeout_us=10 * SECOND)
    assert cluster.outcome(token).outcome is Outcome.DONE


def add_the_fourth_and_let_it_lead(engine: str) -> tuple[Cluster, int]:
    """While a member is away."""
    cluster = Cluster(engine=engine, durable=True, spares=1)
    cluster.elect()
    away = cluster.follower()
    cluster.kill(away)
    cluster.run(SECOND)
    asked = cluster.elect()
    ask(cluster, AddMember(4, ("http://n004",), learner=False))
    cluster.processes[4].join(asked)
    cluster.run_until(lambda: 4 in cluster.node(cluster.elect()).membership().voters)
    cluster.offer(cluster.elect(), TransferLead(0, 4))
    cluster.run_until(lambda: cluster.leader() == 4)
    return cluster, away


@pytest.mark.parametrize("engine", ENGINES)
def test_who_was_away_while_the_leader_was_added_follows_it(engine: str) -> None:
    cluster, away = add_the_fourth_and_let_it_lead(engine)
    cluster.start(away)
    cluster.run_until(lambda: cluster.node(away).table() == cluster.node(4).table(), within_us=4 * SECOND)
    assert cluster.leader() == 4
    assert cluster.propose(away, b"through it", timeout_us=5 * SECOND).outcome is Outcome.DONE


def test_groups_hear_of_the_members_that_the_own_table_has_though_the_node_was_told_of_them_before() -> None:
    cluster = Cluster()
    cluster.elect()
    node = cluster.node(cluster.follower())
    gone = next(member for member in cluster.members if member not in (cluster.leader(), node.config.member))
    table, _ = changed(node.table(), 50, Remove(gone))
    table, _ = changed(table, 51, Leave(gone))
    assert node._cluster.tell(table)
    heard: list[set[int]] = []
    with patch.object(node._replicas[0], "table_changed", lambda now, members: heard.append(set(members))):
        for index in (51, 52):
            node._on_table(cluster.now, ClusterRecord(index, encode_table(msgspec.structs.replace(table, index=index))))
    assert heard == [set(cluster.members) - {gone}]


def test_what_it_was_told_is_forgotten_when_it_starts_again_and_told_again() -> None:
    cluster, away = add_the_fourth_and_let_it_lead("raft")
    cluster.drop = lambda sender, to, group, message: sender == 4
    cluster.start(away)
    cluster.run_until(lambda: 4 in cluster.node(away).status().peers, within_us=4 * SECOND)
    assert 4 not in cluster.node(away).table().members
    cluster.kill(away)
    cluster.drop = lambda sender, to, group, message: False
    cluster.start(away)
    cluster.run_until(lambda: 4 in cluster.node(away).table().members, within_us=4 * SECOND)
