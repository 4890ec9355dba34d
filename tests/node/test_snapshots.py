"""A member is away until the log is cut beyond it, and is sent a snapshot when it is back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import Limits
from ratified.consensus.engines import ENGINES
from ratified.node.checkpoints import Checkpoints
from ratified.node.cluster_table import Readdress, encode_change
from ratified.node.config import NodeLimits
from ratified.node.ports import Outcome, Reason, Work
from ratified.storage.snapshot_file import snapshot_files
from ratified.wire.peer import ForwardAnswer, SnapshotOffer, SnapshotPiece, SnapshotWanted
from tests.node.cluster import MS, SECOND, Cluster

T = TypeVar("T")

FEW_AT_A_TIME = Limits(entries_per_message_max=2, gap_entries_max=1)
LIMITS = NodeLimits(checkpoint_entries=10, snapshot_catchup_entries=1, snapshot_piece_bytes=300)


def cluster_of(
    size: int = 3, engine: str = "raft", limits: NodeLimits = LIMITS, engine_limits: Limits | None = None
) -> Cluster:
    cluster = Cluster(size=size, limits=limits, engine_limits=engine_limits, engine=engine, durable=True)
    cluster.elect()
    return cluster


def write(cluster: Cluster, count: int, size: int = 50) -> None:
    for number in range(count):
        cluster.propose(cluster.leader(), b"%d" % number + b"x" * size)
        cluster.run(20 * MS)


def base(cluster: Cluster, member: int) -> int:
    return cluster.node(member).status().groups[0].engine.base


def applied(cluster: Cluster, member: int) -> int:
    return cluster.node(member).status().groups[0].applied


def files(cluster: Cluster, member: int) -> list[str]:
    return list(snapshot_files(cluster.processes[member].disk))


def is_even(cluster: Cluster) -> bool:
    up = [member for member in cluster.members if cluster.processes[member].up]
    return len({cluster.node(member).digest(0) for member in up}) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_who_was_away_gets_a_snapshot_and_then_what_follows(engine: str) -> None:
    cluster = cluster_of(engine=engine)
    write(cluster, 5)
    away = cluster.follower()
    cluster.kill(away)
    write(cluster, 40)
    assert base(cluster, cluster.leader()) > 10
    cluster.start(away)
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    write(cluster, 3)
    cluster.run_until(lambda: is_even(cluster))
    cluster.run_until(lambda: files(cluster, away) == [])


def away_and_cut(
    size: int = 3,
    engine: str = "raft",
    limits: NodeLimits = LIMITS,
    writes: int = 40,
    engine_limits: Limits | None = None,
) -> tuple[Cluster, int]:
    """A member is down, and lacks what the others have cut."""
    cluster = cluster_of(size, engine, limits, engine_limits)
    write(cluster, 5)
    away = cluster.follower()
    cluster.kill(away)
    write(cluster, writes)
    return cluster, away


def messages(cluster: Cluster, kind: type[T], sender: int | None = None) -> list[T]:
    return [each for of, _, _, each in cluster.sent if isinstance(each, kind) and sender in (None, of)]


def notices(cluster: Cluster, member: int) -> str:
    return "\n".join(notice.text for notice in cluster.processes[member].notices)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_snapshot_is_enough_where_checkpoints_go_on(engine: str) -> None:
    """Others take several checkpoints while it is on its way, and before what comes next is acknowledged."""
    cluster, away = away_and_cut(engine=engine, engine_limits=FEW_AT_A_TIME)
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 3)
    cluster.hold_disk(away)
    write(cluster, 30)
    cluster.release_disk(away)
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    cluster.hold_disk(away)
    write(cluster, 30)
    assert base(cluster, cluster.leader()) <= applied(cluster, away)
    cluster.release_disk(away)
    cluster.run_until(lambda: is_even(cluster))
    assert len({piece.snapshot for piece in messages(cluster, SnapshotPiece)}) == 1
    write(cluster, 30)
    assert base(cluster, cluster.leader()) >= applied(cluster, away) - 30, "nothing is held any more"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_snapshot_on_its_way_holds_the_log_however_long_it_takes(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "_enough", 16 << 10)
    cluster, away = away_and_cut(engine=engine)
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 3)
    cluster.hold_disk(away)
    write(cluster, 70)
    cluster.release_disk(away)
    cluster.run_until(lambda: is_even(cluster))
    assert len({piece.snapshot for piece in messages(cluster, SnapshotPiece)}) == 1


def test_after_a_break_it_goes_on_at_the_piece_that_is_lacking() -> None:
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 4)
    cluster.isolate(away)
    cluster.run(50 * MS)
    cluster.heal()
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    numbers = [piece.number for piece in messages(cluster, SnapshotPiece)]
    assert len({piece.snapshot for piece in messages(cluster, SnapshotPiece)}) == 1
    assert sorted(set(numbers)) == list(range(1, max(numbers) + 1))
    assert len(numbers) <= max(numbers) + 1, "at most one piece is sent twice"


def test_a_receiver_that_starts_again_goes_on_with_what_it_has() -> None:
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 4)
    cluster.kill(away)
    cluster.start(away)
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    assert len({piece.snapshot for piece in messages(cluster, SnapshotPiece)}) == 1


def test_a_receiver_that_has_lost_what_its_sender_has_let_go_of_is_sent_another_one_at_once() -> None:
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 6)
    cluster.kill(away)
    spoil(cluster, away, 400)
    cluster.start(away)
    cluster.run_until(lambda: applied(cluster, away) >= 40, within_us=5 * SECOND)
    assert len({piece.snapshot for piece in messages(cluster, SnapshotPiece)}) == 2


def test_a_sender_that_starts_again_begins_anew() -> None:
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 4)
    sender = cluster.leader()
    cluster.kill(sender)
    cluster.start(sender)
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    assert len({piece.snapshot for piece in messages(cluster, SnapshotPiece)}) == 2
    cluster.run_until(lambda: files(cluster, away) == [])


def test_no_piece_is_sent_before_the_one_before_it_is_durable() -> None:
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 3)
    cluster.hold_disk(away)
    cluster.run(50 * MS)
    sent = len(messages(cluster, SnapshotPiece))
    cluster.run(300 * MS)
    assert {piece.number for piece in messages(cluster, SnapshotPiece)[sent:]} <= {
        messages(cluster, SnapshotPiece)[sent - 1].number
    }
    cluster.release_disk(away)
    cluster.run_until(lambda: applied(cluster, away) >= 40)


def test_a_write_before_that_of_the_base_does_not_switch_the_store() -> None:
    """A store that is ahead of its log would be all that a crash leaves of either."""
    cluster, away = away_and_cut()
    cluster.start(away)
    receiving = cluster.node(away)._replicas[0].receiving
    writes_base = receiving.writes_base
    written: list[int] = []

    def checked(ticket: int) -> None:
        writes_base(ticket)
        assert not receiving.on_persisted(ticket - 1)
        assert not receiving.is_durable
        written.append(ticket)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(receiving, "writes_base", checked)
        cluster.run_until(lambda: applied(cluster, away) >= 40)
    assert len(written) == 1


def test_a_piece_that_is_long_under_way_is_not_sent_again() -> None:
    """Each takes twice as long as what the sender waits for an answer where nothing is under way."""
    size = 128 * 1024
    limits = msgspec.structs.replace(
        LIMITS, snapshot_piece_bytes=size, window_bytes_first=size, window_bytes_min=size, window_bytes_max=size
    )
    cluster, away = away_and_cut(limits=limits, writes=0)
    for token in [cluster.submit(cluster.leader(), b"x" * 20_000, timeout_us=10 * SECOND) for _ in range(50)]:
        cluster.outcome(token)
    write(cluster, 20)
    cluster.run(SECOND)
    assert base(cluster, cluster.leader()) > 50
    cluster.slow_down(size * 5)
    cluster.sent.clear()
    cluster.start(away)
    cluster.run_until(lambda: applied(cluster, away) >= 60, within_us=20 * SECOND)
    wanted = [message.next for message in messages(cluster, SnapshotWanted)]
    assert len(wanted) > 5
    assert wanted == list(range(1, len(wanted) + 1))
    assert len(messages(cluster, SnapshotOffer)) == 1


def test_what_was_proposed_through_a_member_ends_unknown_where_a_snapshot_takes_its_place() -> None:
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.run_until(lambda: bool(files(cluster, away)))
    cluster.drop = lambda sender, to, group, message: isinstance(message, ForwardAnswer) and to == away
    token = cluster.submit(away, b"taken, and nobody says so", timeout_us=5 * SECOND)
    reply = cluster.outcome(token)
    assert (reply.outcome, reply.reason) == (Outcome.UNKNOWN, Reason.INSTALLED)


def spoil(cluster: Cluster, member: int, at: int) -> None:
    """A byte of the file with the snapshot rots."""
    (file,) = files(cluster, member)
    disk = cluster.processes[member].disk
    (byte,) = disk.read(file, at, 1)
    disk.write(file, at, bytes([byte ^ 1]))
    disk.sync_data(file)


def test_a_snapshot_that_rots_before_it_is_loaded_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ratified.sim.machine.SPOILT", "nothing is said so")
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 6)
    spoil(cluster, away, 400)
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    assert "was given up, and is asked for again: piece" in notices(cluster, away)
    assert len({piece.snapshot for piece in messages(cluster, SnapshotPiece)}) == 2


def install_without_checkpoint() -> tuple[Cluster, int]:
    """A member has installed a snapshot, and no checkpoint of it; then its machine is lost."""
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.processes[away].checkpoint_lane.fail()
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    assert files(cluster, away)
    cluster.processes[away].lose()
    cluster.processes[away].checkpoint_lane.mend()
    return cluster, away


def test_a_start_loads_a_snapshot_again_whose_store_is_lost() -> None:
    cluster, away = install_without_checkpoint()
    cluster.start(away)
    assert applied(cluster, away) >= 40
    cluster.run_until(lambda: is_even(cluster))
    cluster.run_until(lambda: files(cluster, away) == [])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda cluster, member: spoil(cluster, member, 400), r"cannot be used: piece \d+ fails its checksum"),
        (lambda cluster, member: spoil(cluster, member, 20), "is not there"),
        (lambda cluster, member: cluster.processes[member].disk.remove(files(cluster, member)[0]), "is not there"),
    ],
)
def test_a_start_that_needs_a_snapshot_which_is_damaged_says_what_to_do(
    damage: Callable[[Cluster, int], None], said: str
) -> None:
    cluster, away = install_without_checkpoint()
    damage(cluster, away)
    remedy = "Put file 'snapshot-.*' back .* or remove this member"
    with pytest.raises(Violation, match=rf"StoreBehindLog: .*{said}.*{remedy}"):
        cluster.start(away)


def test_a_checkpoint_that_was_begun_before_a_snapshot_came_does_not_take_its_file_away() -> None:
    cluster, away = away_and_cut()
    cluster.start(away)
    cluster.processes[away].checkpoint_lane.fail()
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    index = base(cluster, away)
    cluster.node(away)._replicas[0].receiving.checkpointed(index - 1)
    cluster.run(20 * MS)
    assert files(cluster, away)
    cluster.processes[away].lose()
    cluster.start(away)
    assert applied(cluster, away) >= index


def test_the_cluster_table_comes_with_the_snapshot() -> None:
    cluster = cluster_of()
    away = 3
    cluster.kill(away)
    index = cluster.node(1).table().index
    urls = ("http://n003", "http://other")
    cluster.outcome(cluster.submit(cluster.leader(), encode_change(Readdress(away, urls)), Work.CLUSTER))
    write(cluster, 40)
    assert cluster.node(1).table().index > index
    cluster.start(away)
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    assert cluster.node(away).table() == cluster.node(1).table()
    assert cluster.node(away).table().members[away].peer_urls == urls


def test_a_node_sends_few_at_a_time() -> None:
    limits = msgspec.structs.replace(LIMITS, snapshots_sent_max=1)
    cluster = cluster_of(5, limits=limits)
    away = [member for member in cluster.members if member != cluster.leader()][:2]
    for member in away:
        cluster.kill(member)
    write(cluster, 40)
    for member in away:
        cluster.start(member)
    cluster.run_until(lambda: all(applied(cluster, member) >= 40 for member in away))
    order = [piece.snapshot for piece in messages(cluster, SnapshotPiece)]
    assert len(set(order)) == 2
    assert order == sorted(order, key=order.index), "one ended before the other began"


def test_a_snapshot_that_makes_no_step_is_given_up_at_both_ends() -> None:
    limits = msgspec.structs.replace(LIMITS, snapshot_patience_us=500 * MS)
    cluster, away = away_and_cut(limits=limits)
    cluster.start(away)
    cluster.run_until(lambda: len(messages(cluster, SnapshotPiece)) >= 3)
    cluster.isolate(away)
    cluster.run(SECOND)
    assert files(cluster, away) == []
    leader = cluster.node(cluster.leader())
    assert leader.sizes()["snapshots on their way, group 0"].holds == 0
    cluster.heal()
    cluster.run_until(lambda: applied(cluster, away) >= 40)


def test_nothing_is_cut_that_a_majority_has_in_no_checkpoint() -> None:
    cluster = cluster_of(3)
    for member in cluster.members:
        if member != cluster.leader():
            cluster.processes[member].checkpoint_lane.fail()
    write(cluster, 15)
    assert base(cluster, cluster.leader()) == 0
