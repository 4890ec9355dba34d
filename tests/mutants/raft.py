"""One rule of Raft, of the node, the store or the disk broken each; all in worlds on Raft."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from ratified.consensus.contract import Entry, Era, Send
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.leader import Leader
from ratified.consensus.raft.messages import AppendEntriesResponse, Message, RequestVote
from ratified.consensus.raft.state import HardState
from ratified.consensus.replication.delivery import Delivery
from ratified.consensus.replication.engine import Engine
from ratified.consensus.replication.history import History
from ratified.consensus.replication.outbox import Outbox
from ratified.consensus.replication.reads import ReadRounds
from ratified.consensus.replication.transfer import Transfer
from ratified.consensus.replication.writes import Writes
from ratified.kv.store import KvStore
from ratified.kv.tables import META
from ratified.kv.watch import Watcher, WatchHub
from ratified.node import forwarding
from ratified.node.node import Node
from ratified.node.replica import Replica
from ratified.sim import simulation
from ratified.sim.arguments import Arguments
from ratified.sim.draw import SimulationOptions, draw_options
from ratified.sim.options import MEASURED
from ratified.storage import guard, recovery
from tests.mutants.mutant import Mutant


def votes_twice() -> AbstractContextManager[Any]:
    """Figure 2, RequestVote 2: the vote of this term may have been given to somebody else."""
    return patch.object(Core, "may_vote_for", lambda core, candidate: True)


def writes_no_vote_in_a_known_term() -> AbstractContextManager[Any]:
    """A vote is written only together with a new term."""
    right = Core.take_write

    def take_write(core: Core) -> Any:
        written = core._written
        if core.term == written.term and core.voted_for != written.voted_for:
            core._written = HardState(core.term, core.voted_for)
        return right(core)

    return patch.object(Core, "take_write", take_write)


@contextmanager
def _leaves_at_once(kind: type[Message]) -> Iterator[None]:
    waits = Outbox.send_after

    def send_after(outbox: Outbox, to: int, message: Message) -> None:
        (outbox.send if isinstance(message, kind) else lambda *sent: waits(outbox, *sent))(to, message)

    with patch.object(Outbox, "send_after", send_after):
        yield


def asks_for_votes_early() -> AbstractContextManager[Any]:
    """Rule 3: a RequestVote leaves before its write is durable."""
    return _leaves_at_once(RequestVote)


def answers_appends_early() -> AbstractContextManager[Any]:
    """Rule 3: an append response leaves before its write is durable."""
    return _leaves_at_once(AppendEntriesResponse)


def holds_nothing_back() -> AbstractContextManager[Any]:
    """Rule 3, where the replica keeps it: what waits for a ticket leaves at once."""
    return patch.object(Replica, "_may_leave", lambda replica, ticket: True)


def forgets_what_waits() -> AbstractContextManager[Any]:
    """Rule 3: what waits for a ticket leaves at once, and is said to wait for nothing."""

    def hold(replica: Replica, ticket: int, sends: Sequence[Send]) -> None:
        for send in sends:
            session = replica._peers.session(send.to)
            if session is not None:
                replica._leave(session, send.message, None)

    return patch.object(Replica, "_send_when_durable", hold)


def commits_older_terms_by_counting() -> AbstractContextManager[Any]:
    """Section 5.4.2 and figure 8."""
    return patch.object(Leader, "may_commit", lambda leader, index: True)


def delivers_what_is_not_durable() -> AbstractContextManager[Any]:
    """Rule 5: committed is not enough."""
    return patch.object(Engine, "deliverable", lambda engine: engine._algorithm.core.log.commit)


def does_not_truncate() -> AbstractContextManager[Any]:
    """Figure 2, AppendEntries 3: entries that conflict stay, and what is behind them is appended."""

    def first_new(log: History, entries: Sequence[Entry]) -> int:
        return sum(entry.index <= log.last for entry in entries)

    return patch.object(History, "first_new", first_new)


def does_not_clip() -> AbstractContextManager[Any]:
    """Rule 4: a write in flight still stands for what was truncated meanwhile."""
    return patch.object(Writes, "clip", lambda writes, last: None)


def reads_before_first_commit() -> AbstractContextManager[Any]:
    """Section 8: a new leader does not know yet what is committed."""
    return patch.object(ReadRounds, "may_begin", lambda reads, serving: True)


def reads_without_a_round() -> AbstractContextManager[Any]:
    """Rule 8: somebody else may lead by now."""
    return patch.object(ReadRounds, "is_confirmed", lambda reads: True)


@contextmanager
def takes_forwards_twice() -> Iterator[None]:
    """Rule 7: a number that was seen is taken again."""

    def in_order(origin: forwarding._Origin) -> list[int]:
        expected = origin.next
        found: list[int] = []
        for number in sorted(origin.held):
            if number > expected:
                break
            found.append(number)
            expected = number + 1
        return found

    with (
        patch.object(forwarding._Origin, "seen", lambda origin, number: False),
        patch.object(forwarding._Origin, "in_order", in_order),
    ):
        yield


def says_lost_too_early() -> AbstractContextManager[Any]:
    """Rule 7: that a later term has begun does not mean that an entry of an older one cannot be delivered."""

    def lost(raft: Raft, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        return raft.core.era > era

    return patch.object(Raft, "lost", lost)


def skips_gaps() -> AbstractContextManager[Any]:
    """Rule 7: a number is taken although one below it is missing."""
    return patch.object(forwarding._Origin, "in_order", lambda origin: sorted(origin.held))


def writes_applied_in_the_next_transaction() -> AbstractContextManager[Any]:
    """The applied index belongs to the transaction of the data."""

    def write_applied(store: KvStore, index: int) -> None:
        store._space.put(META, b"applied", store._applied.to_bytes(8))
        store._applied = index

    return patch.object(KvStore, "_write_applied", write_applied)


def accepts_torn_tails() -> AbstractContextManager[Any]:
    """A batch whose checksum is wrong is no batch."""
    return patch.object(recovery, "body_matches", lambda header, batch: True)


def uses_any_store() -> AbstractContextManager[Any]:
    """A store of another boot may be torn."""
    return patch.object(guard, "store_usable", lambda recorded, present: None)


@contextmanager
def one_entry_at_a_time() -> Iterator[None]:
    """Where figure 8 of the paper happens: messages carry one entry and wait for its answer, so that an older entry can
    be on a majority before the new term's first one is; messages get lost, so that leaders die with entries that nobody
    else has; and elections are quick, so that there are many."""

    def options(arguments: Arguments) -> SimulationOptions:
        drawn = draw_options(arguments)
        cluster = drawn.cluster
        small = replace(cluster.limits.engine, entries_per_message_max=1, inflight_messages_max=1)
        return replace(
            drawn,
            cluster=replace(
                cluster,
                groups=1,
                election_timeout_us=50_000,
                heartbeat_us=10_000,
                limits=replace(cluster.limits, engine=small),
                through_wire=False,
                computing=MEASURED,
            ),
            unreliable_network=replace(
                drawn.unreliable_network,
                grain_us=1,
                latency_most_us=5_000,
                loss_chance=200_000,
                slow_chance=0,
                duplicate_chance=0,
                break_chance=0,
            ),
            workload=replace(
                drawn.workload,
                clients=2,
                think_most_us=20_000,
                timeout_least_us=1_000,
                timeout_most_us=100_000,
                probe_timeout_us=2_000_000,
                value_bytes=0,
                watchers=0,
                range_readers=0,
                lease_holders=0,
            ),
        )

    with patch.object(simulation, "draw_options", options):
        yield


def applies_all_at_once() -> AbstractContextManager[Any]:
    """Rule 15: what is applied in a turn is bounded."""
    return patch.object(Delivery, "_end_of_turn", lambda delivery: 2**62)


@contextmanager
def one_entry_a_turn() -> Iterator[None]:
    """A turn may apply one entry, of all groups together."""

    def options(arguments: Arguments) -> SimulationOptions:
        drawn = draw_options(arguments)
        limits = drawn.cluster.limits
        limits = replace(
            limits,
            engine=replace(limits.engine, deliver_entries_max=1, deliver_bytes_max=1 << 20),
            node=replace(limits.node, apply_entries_max=1),
        )
        return replace(drawn, cluster=replace(drawn.cluster, limits=limits))

    with patch.object(simulation, "draw_options", options):
        yield


def drains_every_group() -> AbstractContextManager[Any]:
    """Rule 15: what is applied in a turn is bounded over all groups of the node."""
    return patch.object(
        Node,
        "_drain_replicas",
        lambda node, now, touched: [(replica, replica.prepare(now)) for replica in touched],
    )


def answers_progress_at_once() -> AbstractContextManager[Any]:
    """A request for progress waits for what its stream's watches have not sent."""
    return patch.object(WatchHub, "stream_is_current", lambda hub, stream: True)


def answers_progress_before_what_waits() -> AbstractContextManager[Any]:
    """What the hub handed to a watch has not been sent yet."""
    return patch.object(Watcher, "current", property(lambda watcher: watcher._created and watcher._synced))


def never_gives_up_a_transfer() -> AbstractContextManager[Any]:
    """What tells the target is lost, and the leader takes nothing any more."""
    begin = Transfer.__init__

    def begin_without_an_end(self: Transfer, era: Era, to: int, deadline: int) -> None:
        begin(self, era, to, 2**62)

    return patch.object(Transfer, "__init__", begin_without_an_end)


MUTANTS = [
    Mutant(
        "applies all that is committed in one turn",
        applies_all_at_once,
        "partitions",
        "session",
        2,
        world=one_entry_a_turn,
    ),
    Mutant(
        "applies as much of every group in one turn",
        drains_every_group,
        "everything",
        "session",
        2,
        world=one_entry_a_turn,
    ),
    Mutant("votes twice in a term", votes_twice, "everything", "datagram", 1),
    Mutant("writes no vote in a known term", writes_no_vote_in_a_known_term, "everything", "datagram", 47),
    Mutant("asks for votes before its write is durable", asks_for_votes_early, "crashes", "session", 1),
    Mutant("answers appends before their write is durable", answers_appends_early, "crashes", "session", 1),
    Mutant("holds nothing back until its write is durable", holds_nothing_back, "fault-free", "session", 1),
    Mutant("forgets that a message waits for a write", forgets_what_waits, "fault-free", "session", 1),
    Mutant(
        "commits entries of older terms by counting",
        commits_older_terms_by_counting,
        "leader-failures",
        "datagram",
        71,
        nodes=5,
        world=one_entry_at_a_time,
    ),
    Mutant("delivers what is not durable here", delivers_what_is_not_durable, "crashes", "session", 1),
    Mutant("does not truncate on conflict", does_not_truncate, "partitions", "session", 5),
    Mutant("does not clip the durable index by truncation", does_not_clip, "everything", "session", 236, seeds=400),
    Mutant("serves reads before the first commit of its term", reads_before_first_commit, "everything", "session", 3),
    Mutant("serves reads without a quorum's round", reads_without_a_round, "partitions", "session", 18, rests=False),
    Mutant("takes a forwarded proposal twice", takes_forwards_twice, "unreliable-network", "datagram", 1),
    Mutant("says lost too early", says_lost_too_early, "everything", "session", 19),
    Mutant("skips a gap in forwarded numbers", skips_gaps, "unreliable-network", "datagram", 3),
    Mutant(
        "writes the applied index outside the data's transaction",
        writes_applied_in_the_next_transaction,
        "crashes",
        "session",
        1,
    ),
    Mutant("accepts a torn tail", accepts_torn_tails, "machine-losses", "session", 73, rests=False),
    Mutant("uses a store of another boot", uses_any_store, "machine-losses", "session", 1),
    Mutant("never gives up a transfer", never_gives_up_a_transfer, "transfers", "datagram", 26),
    Mutant("answers progress at once", answers_progress_at_once, "fault-free", "session", 1),
    Mutant("answers progress before events that wait", answers_progress_before_what_waits, "fault-free", "session", 2),
]
