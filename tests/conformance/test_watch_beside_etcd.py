"""Odd watches, one stream each, to etcd 3.5 and to ours: every response is compared.

Of different watches of one stream the order of the responses is not compared; of one watch it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from ratified.testing.processes import LocalCluster
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    PutRequest,
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from tests.conformance.asking import Asked, answer
from tests.conformance.drawn import Call
from tests.conformance.reference import etcd_35

COMPACTED = 3
LAST_ID = 99


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Asked]]:
    """Both have the revisions 2 to 6 of one key, and the same are compacted."""
    with (
        etcd_35(tmp_path_factory.mktemp("etcd")) as endpoint,
        LocalCluster(tmp_path_factory.mktemp("ours"), 1) as cluster,
    ):
        asked = [Asked("etcd 3.5", endpoint), Asked("ours", cluster.nodes[0].endpoint)]
        puts = [Call("KV/Put", PutRequest(key=b"k", value=b"%d" % number)) for number in range(5)]
        for call in (*puts, Call("KV/Compact", CompactionRequest(revision=COMPACTED))):
            for server in asked:
                answer(call, server.begin(call))
        yield asked
        for server in asked:
            server.close()


def create(**fields: object) -> WatchRequest:
    return WatchRequest(create_request=WatchCreateRequest(**{"key": b"k", **fields}))  # type: ignore[arg-type]


def cancel(watch_id: int) -> WatchRequest:
    return WatchRequest(cancel_request=WatchCancelRequest(watch_id=watch_id))


PROGRESS = WatchRequest(progress_request=WatchProgressRequest())
NO_PUTS, NO_DELETES = WatchCreateRequest.NOPUT, WatchCreateRequest.NODELETE
STREAMS: dict[str, list[tuple[WatchRequest, int]]] = {
    # What is asked, and after how many responses the next is.
    "an empty range takes no id": [(create(range_end=b"a"), 1), (create(range_end=b"k"), 1), (create(), 1)],
    "no key is the first one": [(create(key=b""), 1), (create(key=b"", range_end=b"\0"), 1)],
    "a negative id": [(create(watch_id=-5), 1), (create(), 1), (cancel(-5), 1)],
    "the id of refusals": [(create(watch_id=-1), 1), (PROGRESS, 1), (cancel(-1), 1), (create(watch_id=-1), 1)],
    "an id in use": [(create(watch_id=7), 1), (create(watch_id=7), 1), (create(), 1)],
    "ids that are free": [(create(watch_id=1), 1), (create(), 1), (create(), 1), (cancel(1), 1), (create(), 1)],
    "a cancel right behind": [(create(watch_id=4), 0), (cancel(4), 2), (create(watch_id=4), 1)],
    "two cancels": [(create(), 1), (cancel(0), 1), (cancel(0), 0), (create(), 1)],
    "a cancel of nothing": [(cancel(4), 0), (create(), 1)],
    "compacted": [(create(start_revision=1), 2), (create(), 1)],
    "compacted, and canceled": [(create(start_revision=1), 2), (cancel(0), 1), (create(watch_id=0), 1)],
    "compacted, and the same id": [
        (create(start_revision=1, watch_id=5), 2),
        (create(watch_id=5), 1),
        (cancel(5), 1),
        (create(watch_id=5), 1),
    ],
    "a negative revision": [(create(start_revision=-1), 2), (create(start_revision=-7), 2)],
    "the compacted revision": [(create(start_revision=COMPACTED), 2)],
    "a revision to come": [(create(start_revision=100), 1), (PROGRESS, 1)],
    "progress": [(create(), 1), (PROGRESS, 1), (PROGRESS, 1)],
    "progress of no watch": [(PROGRESS, 1)],
    "pairs before": [(create(start_revision=4, prev_kv=True), 2)],
    "all filters": [(create(filters=[NO_PUTS, NO_DELETES], start_revision=4), 1), (PROGRESS, 1)],
    "a filter that there is not": [(create(filters=[5], start_revision=4), 2)],
    "one filter": [(create(filters=[NO_DELETES], start_revision=4), 2)],
}


@pytest.mark.parametrize("name", STREAMS)
def test_every_response_is_etcds(servers: Sequence[Asked], name: str) -> None:
    theirs, ours = (responses(server, STREAMS[name]) for server in servers)
    assert ours == theirs


def responses(server: Asked, requests: Sequence[tuple[WatchRequest, int]]) -> dict[int, list[WatchResponse]]:
    """By watch; what a last watch of another id is told shows that nothing else comes."""
    stream = server.watches()
    found: dict[int, list[WatchResponse]] = {}

    def take() -> WatchResponse:
        response = stream.next()
        found.setdefault(response.watch_id, []).append(response)
        return response

    for request, count in requests:
        stream.ask(request)
        for _ in range(count):
            take()
    stream.ask(create(watch_id=LAST_ID))
    while take().watch_id != LAST_ID:
        pass
    stream.close()
    return found
