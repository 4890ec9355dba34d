"""Whose data directory it is, and that only one process has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratified.sim.disk import Disk
from ratified.storage import identity
from ratified.storage.files import Directory
from ratified.storage.format import NodeRecord
from ratified.storage.identity import (
    DirectoryLocked,
    Identity,
    IdentityError,
    check_same,
    cluster_and_member_ids,
    create,
    lock,
    read,
)
from ratified.storage.recovery import recover
from tests.storage.crashes import Observed, losses
from tests.storage.scribe import GROUPS, IDENTITY, TINY, agrees, belief, command, new_log, reopened, settle

ADDRESSES = {"a": ["http://10.0.0.1:2380"], "b": ["http://10.0.0.2:2380", "http://10.0.0.3:2380"]}


def test_a_created_directory_says_whose_it_is() -> None:
    disk = Disk()
    assert read(disk) is None
    create(disk, IDENTITY, GROUPS, TINY)
    assert read(disk) == IDENTITY
    with pytest.raises(IdentityError, match="already has"):
        create(disk, IDENTITY, GROUPS, TINY)


def test_the_identity_gets_its_name_only_after_the_first_segment_is_durable() -> None:
    names: list[list[str]] = []
    create(Observed(Disk(), lambda disk: names.append(list(next(losses(disk, 1)).names()))), IDENTITY, GROUPS, TINY)
    durable = [step for number, step in enumerate(names) if not number or step != names[number - 1]]
    assert durable == [[], ["0000000001.log"], ["0000000001.log", "identity"]]


def test_a_directory_id_has_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="16 bytes, not 3"):
        create(Disk(), Identity(1, 2, b"abc", "raft"), GROUPS, TINY)


@pytest.mark.parametrize(
    ("cluster", "member", "engine", "what"),
    [(8, 3, "raft", "cluster 7"), (7, 4, "raft", "member 3"), (7, 3, "zab", "a cluster that runs engine raft,")],
)
def test_a_foreign_directory_is_refused(cluster: int, member: int, engine: str, what: str) -> None:
    check_same(IDENTITY, 7, 3, "raft")
    with pytest.raises(IdentityError, match=f"belongs to {what} "):
        check_same(IDENTITY, cluster, member, engine)


def test_an_identity_of_a_later_version_is_refused_as_such() -> None:
    disk = Disk()
    create(disk, Identity(7, 3, IDENTITY.directory, "raft", version=2), GROUPS, TINY)
    with pytest.raises(IdentityError, match="format version 2 and this program knows versions up to 1"):
        read(disk)


@pytest.mark.parametrize("length", [0, 5, 16, 40, 53])
def test_an_identity_that_is_cut_short_is_refused(length: int) -> None:
    disk = new_log()
    whole = disk.read(identity.IDENTITY_FILE, 0, 100)
    disk.remove(identity.IDENTITY_FILE)
    disk.create(identity.IDENTITY_FILE, 0)
    disk.write(identity.IDENTITY_FILE, 0, whole[:length])
    with pytest.raises(IdentityError, match="is damaged at byte"):
        read(disk)


def test_a_log_that_was_started_and_lost_its_identity_is_refused() -> None:
    disk = new_log()
    planner = reopened(disk)
    planner.append_own(NodeRecord(1, IDENTITY.directory))
    settle(disk, planner)
    disk.remove(identity.IDENTITY_FILE)
    with pytest.raises(IdentityError, match=r"has a log .* and no file 'identity'"):
        read(disk)
    with pytest.raises(IdentityError):
        create(disk, IDENTITY, GROUPS, TINY)


def test_a_later_segment_alone_is_no_interrupted_creation() -> None:
    disk = new_log()
    planner = reopened(disk)
    planner.append(0, 1, [command(1, 1, b"x" * 5000)])
    settle(disk, planner)
    disk.remove(identity.IDENTITY_FILE)
    disk.remove("0000000001.log")
    with pytest.raises(IdentityError):
        read(disk)


def test_a_log_whose_first_batch_does_not_read_is_no_interrupted_creation() -> None:
    disk = new_log()
    disk.remove(identity.IDENTITY_FILE)
    disk.write("0000000001.log", 20, b"?")
    with pytest.raises(IdentityError):
        read(disk)


def test_a_log_of_another_directory_is_refused() -> None:
    disk, other = new_log(), Disk()
    create(other, Identity(7, 3, bytes(16), "raft"), GROUPS, TINY)
    foreign = other.read("0000000001.log", 0, 1 << 20)
    disk.write("0000000001.log", 0, foreign)
    with pytest.raises(IdentityError, match="belongs to another data directory"):
        recover(disk, TINY)


def test_a_directory_without_an_identity_cannot_be_recovered() -> None:
    with pytest.raises(IdentityError, match="has no identity"):
        recover(Disk(), TINY)


def test_it_all_works_on_a_real_directory(tmp_path: Path) -> None:
    files = Directory(tmp_path)
    new_log(files)
    believed = belief()
    for ticket in range(1, 30):
        planner = reopened(files)
        planner.append(0, ticket, [command(ticket, 1, b"x" * (ticket * 41 % 700))])
        believed[0].take(command(ticket, 1, b"x" * (ticket * 41 % 700)))
        planner.close(0)
        settle(files, planner)
        files.close()
    assert agrees(files, recover(files, TINY), believed)
    files.close()


# ---------------------------------------------------------------------------------------------------------------


def test_ids_do_not_depend_on_the_order_of_names_or_addresses() -> None:
    turned = {"b": list(reversed(ADDRESSES["b"])), "a": ADDRESSES["a"]}
    assert cluster_and_member_ids("token", ADDRESSES) == cluster_and_member_ids("token", turned)


def test_ids_depend_on_token_names_and_addresses() -> None:
    cluster, members = cluster_and_member_ids("token", ADDRESSES)
    seen = {cluster, *members.values()}
    assert len(seen) == 3
    for token, addresses in (
        ("other", ADDRESSES),
        ("token", {"a": ["http://10.0.0.9:2380"], "b": ["http://10.0.0.9:2381"]}),
        ("token", {"c": ADDRESSES["a"], "d": ADDRESSES["b"]}),
    ):
        other_cluster, other_members = cluster_and_member_ids(token, addresses)
        assert not seen & {other_cluster, *other_members.values()}


def test_ids_are_known_numbers_for_ever() -> None:
    assert cluster_and_member_ids("token", {"a": ["http://10.0.0.1:2380"]}) == (
        0x0B93670ACEFF9EFF,
        {"a": 0xE89B95567D32DFFE},
    )


# ---------------------------------------------------------------------------------------------------------------


def test_a_directory_is_locked_once(tmp_path: Path) -> None:
    held = lock(tmp_path)
    with pytest.raises(DirectoryLocked, match=f"{tmp_path} is in use by another process"):
        lock(tmp_path)
    held.release()
    lock(tmp_path).release()
