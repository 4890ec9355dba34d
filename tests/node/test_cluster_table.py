"""The cluster table as a function of the changes that it meets, and how one node keeps it."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import Entry, Kind, ProposalId
from ratified.consensus.entry import make_entry
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import (
    NO_MEMBER,
    URL_EXISTS,
    ClusterFormatError,
    ClusterTable,
    Member,
    Publish,
    Readdress,
    changed,
    decode_change,
    decode_table,
    dials,
    encode_change,
    encode_table,
    first_table,
    new_member,
)
from ratified.storage.format import ClusterRecord

FIRST = first_table({2: "two", 1: "one"}, {1: ("http://one",), 2: ("http://two",)})


def test_the_first_table_is_what_the_configuration_says() -> None:
    rows = {1: new_member("one", ("http://one",)), 2: new_member("two", ("http://two",))}
    assert ClusterTable(0, rows) == FIRST
    assert list(FIRST.members) == [1, 2]


def test_who_dials_is_settled_by_the_first_peer_urls_for_ever() -> None:
    assert dials(FIRST, 1, 2)
    assert not dials(FIRST, 2, 1)
    table, _ = changed(FIRST, 5, Readdress(1, ("http://z",)))
    assert dials(table, 1, 2)
    assert not dials(table, 2, 1)


def test_a_member_publishes_its_name_and_client_urls() -> None:
    table, refusal = changed(FIRST, 5, Publish(1, "new", ("http://c",)))
    assert refusal == ""
    assert table == ClusterTable(
        5, {**FIRST.members, 1: Member("new", ("http://one",), ("http://one",), ("http://c",))}
    )


def test_a_member_gets_other_peer_urls_and_keeps_the_rest() -> None:
    table, _ = changed(FIRST, 5, Publish(1, "one", ("http://c",)))
    table, refusal = changed(table, 6, Readdress(1, ("http://x", "http://one")))
    assert refusal == ""
    assert table.members[1] == Member("one", ("http://x", "http://one"), ("http://one",), ("http://c",))


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (Readdress(1, ("http://x", "http://two")), URL_EXISTS),
        (Readdress(9, ("http://x",)), NO_MEMBER),
        (Publish(9, "nine", ()), NO_MEMBER),
    ],
)
def test_what_does_not_fit_changes_nothing_and_says_why(change: Publish | Readdress, refusal: str) -> None:
    assert changed(FIRST, 5, change) == (ClusterTable(5, FIRST.members), refusal)


def test_tables_and_changes_read_as_they_were_written() -> None:
    table, _ = changed(FIRST, 5, Publish(1, "one", ("http://c",)))
    assert decode_table(encode_table(table)) == table
    for change in (Publish(1, "one", ("http://c",)), Readdress(1, ("http://x",))):
        assert decode_change(encode_change(change)) == change


@pytest.mark.parametrize("data", [b"", b"\x93\x09\x01\x90", encode_change(Readdress(1, ()))])
def test_what_is_no_change_is_refused(data: bytes) -> None:
    with pytest.raises(ClusterFormatError):
        decode_change(data)


# ---- in a node's log


def opened(records: list[ClusterRecord], found: ClusterRecord | None = None) -> ClusterLog:
    """``records`` get what is written and is not durable yet."""
    return ClusterLog(records.append, FIRST, found)


def node_entry(index: int, change: Publish | Readdress) -> Entry:
    return make_entry(index, (1, 0), Kind.NODE, ProposalId(1, 1, index), encode_change(change))


def command(index: int) -> Entry:
    return make_entry(index, (1, 0), Kind.COMMAND, ProposalId(1, 1, index), b"")


RENAME = node_entry(2, Publish(1, "new", ()))
READDRESS = node_entry(4, Readdress(1, ("http://two",)))


def test_what_changes_the_table_is_applied_when_the_table_is_durable_and_so_is_all_behind_it() -> None:
    records: list[ClusterRecord] = []
    cluster = opened(records)
    entries = [command(1), RENAME, command(3), READDRESS, command(5)]
    assert cluster.deliver(entries) == entries[:1]
    assert cluster.deliver([command(6)]) == []
    assert cluster.table == FIRST
    renamed, readdressed = records
    assert cluster.recorded(renamed) == entries[1:3]
    assert cluster.table.members[1].name == "new"
    assert cluster.result_of(RENAME) == b""
    assert cluster.recorded(readdressed) == [*entries[3:], command(6)]
    assert cluster.result_of(READDRESS) == URL_EXISTS.encode()
    assert cluster.deliver([command(7)]) == [command(7)]


def test_what_the_recorded_table_has_taken_in_is_passed_over_when_it_is_delivered_again() -> None:
    records: list[ClusterRecord] = []
    opened(records).deliver([RENAME])
    (record,) = records
    cluster = opened(records, record)
    assert cluster.table.members[1].name == "new"
    assert cluster.deliver([command(1), RENAME, command(3)]) == [command(1), RENAME, command(3)]
    assert records == [record]


def test_without_such_entries_everything_is_applied_at_once() -> None:
    records: list[ClusterRecord] = []
    entries = [command(1), command(2)]
    assert opened(records).deliver(entries) is entries
    assert records == []
