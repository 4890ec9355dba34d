"""A watch's position: each event once, in order, over any number of streams."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratified.client.errors import CallRefused, Compacted
from ratified.client.results import Event
from ratified.client.watching import AskAgain, WatchPosition
from ratified.wire.etcd import kv_pb2, rpc_pb2


def response(revision: int, *changes: int, fragment: bool = False, created: bool = False) -> bytes:
    answer = rpc_pb2.WatchResponse(fragment=fragment, created=created)
    answer.header.revision = revision
    for change in changes:
        event = answer.events.add()
        event.type = kv_pb2.Event.PUT
        event.kv.key, event.kv.mod_revision = b"k", change
    return answer.SerializeToString()


def revisions(events: Sequence[Event] | None) -> list[int]:
    assert events is not None
    return [event.revision for event in events]


def asked(position: WatchPosition) -> rpc_pb2.WatchCreateRequest:
    return rpc_pb2.WatchRequest.FromString(position.request()).create_request


def test_a_watch_from_now_on_begins_behind_the_revision_of_its_creation() -> None:
    position = WatchPosition("k")
    assert asked(position).start_revision == 0
    assert position.on_response(response(4, created=True)) is None
    assert asked(position).start_revision == 5


def test_a_watch_goes_on_behind_the_last_event() -> None:
    position = WatchPosition("k", revision=2)
    position.on_response(response(9, created=True))
    assert position.next_revision == 2
    assert revisions(position.on_response(response(9, 2, 3))) == [2, 3]
    assert asked(position).start_revision == 4


def test_fragments_are_given_on_when_the_last_one_is_there() -> None:
    position = WatchPosition("k", revision=2)
    assert position.on_response(response(9, 2, fragment=True)) is None
    assert position.next_revision == 2
    assert revisions(position.on_response(response(9, 2, 3))) == [2, 2, 3]


def test_half_a_fragmented_answer_is_forgotten_with_its_stream() -> None:
    position = WatchPosition("k", revision=2)
    position.on_response(response(9, 2, fragment=True))
    position.request()
    assert revisions(position.on_response(response(9, 2))) == [2]


def test_progress_is_told_and_believed_only_when_the_events_cannot_be_had_any_more() -> None:
    position = WatchPosition("k", revision=2)
    assert position.seen_revision == 1
    assert position.on_response(response(20)) == []
    assert (position.next_revision, position.seen_revision) == (2, 20)
    compacted = rpc_pb2.WatchResponse(canceled=True, compact_revision=15).SerializeToString()
    with pytest.raises(AskAgain):
        position.on_response(compacted)
    assert asked(position).start_revision == 21
    later = rpc_pb2.WatchResponse(canceled=True, compact_revision=30).SerializeToString()
    with pytest.raises(Compacted):
        position.on_response(later)


def test_a_compacted_watch_says_where_it_can_begin() -> None:
    position = WatchPosition("k", revision=2)
    answer = rpc_pb2.WatchResponse(canceled=True, compact_revision=7)
    with pytest.raises(Compacted, match="revision 2 has been compacted, the first to watch is 7") as caught:
        position.on_response(answer.SerializeToString())
    assert caught.value.revision == 7


def test_a_refused_watch_gives_the_servers_reason() -> None:
    answer = rpc_pb2.WatchResponse(created=True, canceled=True, cancel_reason="mvcc: watcher range is empty")
    with pytest.raises(CallRefused, match="watcher range is empty"):
        WatchPosition("k").on_response(answer.SerializeToString())
