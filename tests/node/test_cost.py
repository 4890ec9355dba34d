"""What a put and a get cost all members, in steps of Python: who makes them dearer has to say so here.

Only turns of nodes are counted (engine, log, store and all), not the simulated world around them, on CPython 3.11.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ratified.consensus.engines import ENGINES
from ratified.kv import commands, queries
from ratified.kv.store import KvStore
from ratified.node.node import Node
from ratified.node.ports import Outcome, Outputs, Work
from ratified.wire.etcd.rpc_pb2 import PutRequest, RangeRequest
from tests.node.cluster import MS, Cluster
from tests.steps import steps

REQUESTS = 64
VALUE = bytes(256)
MARGIN, SLACK = 1.1, 0.75
RequestOf = Callable[[int], tuple[bytes, Work]]

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="another version takes other steps")


def put(number: int) -> tuple[bytes, Work]:
    return commands.put(PutRequest(key=b"/pods/%04d" % number, value=VALUE).SerializeToString()), Work.PROPOSE


def get(number: int) -> tuple[bytes, Work]:
    return queries.range_(RangeRequest(key=b"/pods/%04d" % number).SerializeToString()), Work.READ


@contextmanager
def counted_turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The steps of each turn of each node, as they are taken."""
    taken: list[int] = []
    turn: Callable[[Node, int, int], Outputs] = Node.turn

    def counted(node: Node, now: int, inputs_max: int) -> Outputs:
        outputs: list[Outputs] = []
        taken.append(steps(lambda: outputs.append(turn(node, now, inputs_max))))
        return outputs[0]

    with monkeypatch.context() as patched:
        patched.setattr(Node, "turn", counted)
        yield taken


def cost(monkeypatch: pytest.MonkeyPatch, engine: str, request_of: RequestOf, count: int) -> float:
    """Steps of all members for each of so many requests at once."""
    cluster = Cluster(engine=engine, durable=KvStore)
    leader = cluster.elect()
    for number in range(REQUESTS):
        assert cluster.propose(leader, put(number)[0]).outcome is Outcome.DONE
    cluster.run(20 * MS)
    with counted_turns(monkeypatch) as taken:
        tokens = [cluster.submit(leader, *request_of(number)) for number in range(count)]
        cluster.run(9 * MS)
    assert all(cluster.replies[token][-1].outcome is Outcome.DONE for token in tokens)
    return sum(taken) / count


COUNTED: dict[tuple[str, RequestOf, int], int] = {
    ("raft", put, REQUESTS): 1_566,
    ("paxos", put, REQUESTS): 2_102,
    ("zab", put, REQUESTS): 1_655,
    ("raft", put, 1): 18_052,
    ("paxos", put, 1): 19_217,
    ("zab", put, 1): 18_654,
    ("raft", get, REQUESTS): 287,
    ("paxos", get, REQUESTS): 302,
    ("zab", get, REQUESTS): 308,
    ("raft", get, 1): 9_634,
    ("paxos", get, 1): 10_578,
    ("zab", get, 1): 10_952,
}


def test_each_engine_is_counted() -> None:
    assert {engine for engine, _, _ in COUNTED} == set(ENGINES)


@pytest.mark.parametrize(
    ("engine", "request_of", "count"),
    COUNTED,
    ids=[f"{engine}, {count} {request_of.__name__}" for engine, request_of, count in COUNTED],
)
def test_it_costs_no_more(monkeypatch: pytest.MonkeyPatch, engine: str, request_of: RequestOf, count: int) -> None:
    taken, counted = cost(monkeypatch, engine, request_of, count), COUNTED[engine, request_of, count]
    assert taken <= counted * MARGIN
    assert taken >= counted * SLACK, "it has become cheaper: say so here"
