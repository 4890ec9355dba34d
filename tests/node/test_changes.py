"""Changes of the members as they are built, refused, and taken into the cluster table."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import Change, Entry, Kind, Membership, Progress, ProposalId, Status
from ratified.consensus.entry import encode_change, encode_configuration, make_entry
from ratified.node.changes import (
    CAUGHT_UP_ENTRIES,
    LEARNERS_MAX,
    MEMBER_EXISTS,
    NOT_ENOUGH_STARTED,
    NOT_LEARNER,
    TOO_MANY_LEARNERS,
    AddMember,
    Asked,
    PromoteMember,
    RemoveMember,
    build,
    decode_asked,
    encode_asked,
    is_fit,
    promotion,
    why_not_now,
)
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import (
    NO_MEMBER,
    NOT_LEAVING,
    URL_EXISTS,
    Add,
    Bind,
    ClusterTable,
    Leave,
    Publish,
    Readdress,
    Remove,
    changed,
    decode_context,
    encode_context,
    first_table,
    is_as_first,
)
from ratified.node.cluster_table import encode_change as encode_table_change
from ratified.node.ports import Reason
from ratified.storage.format import ClusterRecord

FIRST = first_table({1: "one", 2: "two"}, {1: ("http://one",), 2: ("http://two",)})
BOTH = Membership((1, 2))
URLS = ("http://three",)
OURS, OTHERS = b"1" * 16, b"2" * 16


def with_added() -> ClusterTable:
    return changed(FIRST, 5, Add(3, URLS, votes_soon=True))[0]


@pytest.mark.parametrize(
    ("asked", "before", "refusal"),
    [
        (AddMember(2, URLS, learner=False), BOTH, MEMBER_EXISTS),
        (AddMember(3, ("http://one",), learner=False), BOTH, URL_EXISTS),
        (AddMember(3, URLS, learner=True), Membership((1,), (), tuple(range(9, 9 + LEARNERS_MAX))), TOO_MANY_LEARNERS),
        (RemoveMember(3), BOTH, NO_MEMBER),
        (RemoveMember(2), Membership((2,)), NOT_ENOUGH_STARTED),
        (PromoteMember(3), BOTH, NO_MEMBER),
        (PromoteMember(2), BOTH, NOT_LEARNER),
    ],
)
def test_what_the_table_decides_is_refused_with_etcds_text(asked: Asked, before: Membership, refusal: str) -> None:
    assert decode_asked(encode_asked(asked)) == asked
    assert build(asked, FIRST, before) == refusal


def test_who_is_added_learns_first_and_is_in_the_context_of_the_change() -> None:
    change = build(AddMember(3, URLS, learner=False), FIRST, BOTH)
    assert isinstance(change, Change)
    assert (change.before, change.after) == (BOTH, Membership((1, 2), (), (3,)))
    assert decode_context(change.context) == Add(3, URLS, votes_soon=True)
    assert promotion(change.after, 3).after == Membership((1, 2, 3))


def test_an_id_that_has_left_never_comes_back() -> None:
    table, _ = changed(with_added(), 6, Remove(3))
    table, refusal = changed(table, 7, Leave(3))
    assert (refusal, 3 in table.members, table.left) == ("", False, (3,))
    assert build(AddMember(3, URLS, learner=True), table, BOTH) == MEMBER_EXISTS


def test_only_the_first_binding_counts_and_first_members_have_none() -> None:
    table, _ = changed(with_added(), 6, Bind(3, OURS))
    table, _ = changed(table, 7, Bind(3, OTHERS))
    table, _ = changed(table, 8, Bind(1, OTHERS))
    assert (table.members[3].directory, table.members[1].directory) == (OURS, None)


def test_a_table_is_as_first_until_somebody_comes_goes_or_moves() -> None:
    published, _ = changed(FIRST, 5, Publish(1, "one", ("http://client",)))
    moved, _ = changed(FIRST, 5, Readdress(1, ("http://elsewhere",)))
    left, _ = changed(changed(FIRST, 5, Remove(2))[0], 6, Leave(2))
    assert [is_as_first(table) for table in (FIRST, published, moved, left, with_added())] == [True, True, *[False] * 3]


def test_the_peer_urls_of_a_member_that_is_leaving_are_free_when_it_has_left() -> None:
    """So one that takes its place, on its machine, waits for that as for any other change."""
    leaving, _ = changed(FIRST, 5, Remove(2))
    again = AddMember(3, FIRST.members[2].peer_urls, learner=False)
    assert build(again, leaving, Membership((1,))) is Reason.CHANGING
    assert build(AddMember(3, FIRST.members[1].peer_urls, learner=False), leaving, Membership((1,))) == URL_EXISTS
    left, _ = changed(leaving, 6, Leave(2))
    assert isinstance(build(again, left, Membership((1,))), Change)


def test_who_was_not_removed_cannot_leave() -> None:
    table, refusal = changed(FIRST, 5, Leave(2))
    assert (refusal, table) == (NOT_LEAVING, ClusterTable(5, FIRST.members))


def test_a_member_that_is_removed_stays_in_the_table_until_it_has_left() -> None:
    records: list[ClusterRecord] = []
    cluster = ClusterLog(records.append, FIRST, None)
    joint, final = Membership((1,), (2,)), Membership((1,))
    entries = [configuration(4, joint, encode_context(Remove(2))), configuration(5, final, b"")]
    assert cluster.deliver(entries) == []
    assert cluster.recorded(*records) == entries
    assert cluster.table.members[2].leaving
    assert build(RemoveMember(2), cluster.table, final) == NO_MEMBER


def configuration(index: int, membership: Membership, context: bytes) -> Entry:
    data = encode_configuration(membership, context)
    return make_entry(index, (1, 0), Kind.MEMBERSHIP, ProposalId(1, 1, index), data)


@pytest.mark.parametrize(
    ("acknowledged", "connected", "reason"),
    [
        (0, (2, 3), Reason.LEARNER_BEHIND),
        (1, (2, 3), Reason.LEARNER_BEHIND),
        (2, (2, 3), Reason.NONE),
        (2, (2,), Reason.NONE),
        (2, (), Reason.UNHEALTHY),
    ],
)
def test_the_leader_judges_progress_and_who_is_there(
    acknowledged: int, connected: tuple[int, ...], reason: Reason
) -> None:
    before = Membership((1, 2), (), (3,))
    progress = Progress(acknowledged, acknowledged + 1, "", acknowledged)
    status = leader_of(before, CAUGHT_UP_ENTRIES + 2, {3: progress})
    assert why_not_now(promotion(before, 3), status, connected) is reason


@pytest.mark.parametrize("base", [0, 1])
def test_a_member_is_added_where_the_log_is_cut_too(base: int) -> None:
    change = build(AddMember(3, URLS, learner=False), FIRST, BOTH)
    assert isinstance(change, Change)
    assert why_not_now(change, leader_of(BOTH, 5, {}, base), (2,)) is Reason.NONE


def leader_of(membership: Membership, commit: int, progress: dict[int, Progress], base: int = 0) -> Status:
    return Status(
        member=1,
        role="leader",
        era=(1, 0),
        raft_term=1,
        leader=1,
        serving=True,
        base=base,
        last=commit,
        durable=commit,
        commit=commit,
        applied=commit,
        membership=membership,
        rests=False,
        settled=True,
        progress=progress,
        words={},
    )


GOOD = encode_change(Change(BOTH, BOTH, encode_context(Remove(2))))


@pytest.mark.parametrize(
    ("group", "kind", "data", "fit"),
    [
        (3, Kind.COMMAND, b"anything", True),
        (0, Kind.NODE, encode_table_change(Leave(2)), True),
        (1, Kind.NODE, encode_table_change(Leave(2)), False),
        (0, Kind.NODE, b"no change", False),
        (0, Kind.MEMBERSHIP, GOOD, True),
        (1, Kind.MEMBERSHIP, GOOD, False),
        (1, Kind.MEMBERSHIP, encode_change(Change(BOTH, BOTH)), False),
        (0, Kind.MEMBERSHIP, encode_change(Change(BOTH, BOTH, b"no context")), False),
        (0, Kind.MEMBERSHIP, GOOD[:5], False),
        (0, Kind.NOOP, GOOD, False),
    ],
)
def test_what_no_node_could_read_is_not_fit_for_the_log(group: int, kind: Kind, data: bytes, fit: bool) -> None:
    assert is_fit(group, kind, data) is fit
