"""What the Raft engine costs by itself: no disk, no network, no encoding of frames.

A leader of three takes proposals 64 at a time; its write becomes durable; both followers answer; the entries are
delivered and applied. Beside it, in the same run: a bare loop that builds and keeps the same entries, which nothing
can undercut; a follower that takes the same entries; and read barriers, 64 to a round.

The engine is fed here without ``consensus/driver.py``: keeping a log and asserting the contract of every Ready costs
0.2 us an entry at the leader and up to 1 us at the follower, which are not the engine's.

    .venv/bin/python bench/raft_engine.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ratified.consensus import raft
from ratified.consensus.contract import NO_ERA, Base, Durable, Engine, Kind, Membership, Options, Proposal, ProposalId
from ratified.consensus.entry import make_entry
from ratified.consensus.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    HeartbeatResponse,
    RequestVoteResponse,
)

BATCH = 64
BATCHES = 2_000
VALUE_BYTES = 256


def engine() -> Engine:
    """Member 1 of three."""
    options = Options(
        member=1,
        seed=1,
        election_deadline=lambda now, era: now + 10**9,
        election_timeout_max_us=10**9,
        election_timeout_min_us=10**9,
        heartbeat_us=10**9,
    )
    return raft.Engine(0, options, Durable(b"", Base(0, NO_ERA, Membership((1, 2, 3)))))


def turn(one: Engine) -> None:
    """One ready(), its write durable, its deliveries applied."""
    ready = one.ready()
    if ready is not None and ready.deliver:
        one.applied(0, ready.deliver[-1].index)


def leader() -> Engine:
    """Member 1, elected and serving."""
    one = engine()
    one.campaign(0)
    one.ready()
    one.persisted(0, 1)
    one.step(0, 2, RequestVoteResponse(1, True))
    one.ready()
    one.persisted(0, 2)
    for peer in (2, 3):
        one.step(0, peer, AppendEntriesResponse(1, True, 1, 0))
    turn(one)
    return one


def batches() -> list[list[Proposal]]:
    """All proposals, built beforehand."""
    data = bytes(VALUE_BYTES)
    return [
        [Proposal(ProposalId(1, 1, batch * BATCH + number + 1), data) for number in range(BATCH)]
        for batch in range(BATCHES)
    ]


def bare(work: list[list[Proposal]]) -> None:
    """The entries and nothing else."""
    log = []
    for proposals in work:
        log.extend([make_entry(i, (1, 0), Kind.COMMAND, each.id, each.data) for i, each in enumerate(proposals, 1)])


def replicate(one: Engine, work: list[list[Proposal]]) -> None:
    """The leader's whole way of an entry."""
    last, ticket = 1, 2
    for proposals in work:
        one.propose(0, proposals)
        one.ready()
        last, ticket = last + BATCH, ticket + 1
        one.persisted(0, ticket)
        for peer in (2, 3):
            one.step(0, peer, AppendEntriesResponse(1, True, last, 0))
        turn(one)


def follow(one: Engine, messages: list[AppendEntries]) -> None:
    """The follower's whole way of an entry."""
    for ticket, message in enumerate(messages, 1):
        one.step(0, 2, message)
        one.ready()
        one.persisted(0, ticket)
        turn(one)


def read(one: Engine, rounds: int) -> None:
    """Barriers, one round for each batch of them."""
    for round_ in range(1, rounds + 1):
        for token in range(BATCH):
            one.read_barrier(0, round_ * BATCH + token)
        one.ready()
        one.step(0, 2, HeartbeatResponse(1, round_))
        one.step(0, 3, HeartbeatResponse(1, round_))
        one.ready()


def append_messages(work: list[list[Proposal]]) -> list[AppendEntries]:
    """What a leader of term 1 sends for ``work``."""
    messages = []
    for batch, proposals in enumerate(work):
        prev = batch * BATCH
        entries = [
            make_entry(i, (1, 0), Kind.COMMAND, each.id, each.data) for i, each in enumerate(proposals, prev + 1)
        ]
        messages.append(AppendEntries(1, prev, 1 if prev else 0, prev, 0, [each.encoded for each in entries]))
    return messages


def measure(name: str, action: Callable[[], None], unit: str) -> None:
    """Run once and print what one item costs."""
    begin = time.perf_counter()
    action()
    seconds = time.perf_counter() - begin
    print(f"{name:<44} {seconds / (BATCHES * BATCH) * 1e6:6.2f} us per {unit}")


def main() -> None:
    """Print the figures."""
    work = batches()
    one = leader()
    print(f"{BATCHES} turns of {BATCH} entries of {VALUE_BYTES} bytes")
    measure("bare: build the entries, keep them", lambda: bare(work), "entry")
    measure("leader: propose, persist, 2 answers, deliver", lambda: replicate(one, work), "entry")
    messages = append_messages(work)
    measure("follower: decode, append, persist, deliver", lambda: follow(engine(), messages), "entry")
    measure("leader: read barriers, one round a turn", lambda: read(one, BATCHES), "barrier")


if __name__ == "__main__":
    main()
