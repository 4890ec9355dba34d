"""What only a leader's store does."""

from __future__ import annotations

from ratified.machine import Era, StateMachineStore, Store
from ratified.wire.peer import Forward
from tests.node.cluster import MS, SECOND, Cluster, Journal


class Dutiful(StateMachineStore):
    """Proposes its era first, then one duty each 50 ms."""

    def __init__(self, member: int) -> None:
        self.member = member
        self.journal = Journal()
        super().__init__(self.journal)
        self.leads: list[Era | None] = []
        self.next_at: int | None = None
        self.given = 0

    def lead(self, now: int, era: Era | None) -> None:
        self.leads.append(era)
        self.next_at = None
        self.given = 0

    def duties(self, now: int) -> tuple[list[bytes], int | None]:
        era = self.leads[-1]
        assert era is not None, "duties are asked of a leader only"
        if self.next_at is None:
            self.next_at = now
        elif self.given == 1:
            assert b"%d leads %d" % (self.member, era[0]) in self.journal.commands, "the first one is applied"
        if now < self.next_at:
            return [], self.next_at
        self.next_at = now + 50 * MS
        self.given += 1
        command = b"%d leads %d" % (self.member, era[0]) if self.given == 1 else b"duty"
        return [command], self.next_at


def dutiful(member: int, group: int) -> Store:
    return Dutiful(member)


def store(cluster: Cluster, member: int) -> Dutiful:
    found = cluster.processes[member].stores[0]
    assert isinstance(found, Dutiful)
    return found


def test_duties_follow_their_deadline_and_only_the_leader_proposes_them() -> None:
    cluster = Cluster(open_store=dutiful)
    leader = cluster.elect()
    cluster.run(SECOND)
    commands = store(cluster, leader).journal.commands
    assert commands[0] == b"%d leads %d" % (leader, (store(cluster, leader).leads[0] or (0, 0))[0])
    assert 15 <= commands.count(b"duty") <= 20
    assert not any(isinstance(message, Forward) for _, _, _, message in cluster.sent)
    for member in cluster.members:
        if member != leader:
            assert store(cluster, member).leads == []


def test_a_deposed_leaders_store_is_told_and_the_next_begins_with_its_own_era() -> None:
    cluster = Cluster(open_store=dutiful)
    old = cluster.elect()
    cluster.run(SECOND)
    cluster.isolate(old)
    cluster.run_until(lambda: cluster.leader() not in (0, old))
    new = cluster.leader()
    cluster.run(SECOND)
    cluster.heal()
    cluster.run(SECOND)
    assert store(cluster, old).leads[-1] is None
    first = b"%d leads %d" % (new, (store(cluster, new).leads[0] or (0, 0))[0])
    assert store(cluster, new).journal.commands.count(first) == 1
    assert store(cluster, new).journal.commands[: len(store(cluster, old).journal.commands)] == (
        store(cluster, old).journal.commands
    )
