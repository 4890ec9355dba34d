"""Several servers asked the same: what the others answer is held against what the first one does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from google.protobuf.message import Message

from ratified.wire.etcd.kv_pb2 import Event
from ratified.wire.etcd.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    WatchCreateRequest,
    WatchResponse,
)
from tests.conformance.asking import Answer, Asked, Failure, Watches, answer, revision
from tests.conformance.drawn import Call, Requests

READS = {"KV/Range", "Lease/LeaseTimeToLive", "Lease/LeaseLeases"}
READS_AT_ONCE = 16
RESPONSES_SHOWN = 3
"""Of a watch, from the first difference on."""


class Difference(NamedTuple):
    """One server answered otherwise than the first one."""

    number: int
    asked: object
    server: str
    expected: object
    found: object

    def __str__(self) -> str:
        where = f"-- request {self.number}, {self.server}\n{self.asked}"
        return f"{where}\n-- expected\n{self.expected}\n-- found\n{self.found}"


class Watched:
    """What the watches of one stream were sent, each however many responses that took."""

    def __init__(self, watches: Watches) -> None:
        self.stream = watches
        self.others: dict[int, list[WatchResponse]] = {}
        """Those without events."""
        self.events: dict[int, list[Event]] = {}

    def take(self) -> None:
        """The next response."""
        response = self.stream.next()
        if response.events:
            self.events.setdefault(response.watch_id, []).extend(response.events)
        else:
            self.others.setdefault(response.watch_id, []).append(response)

    def is_over(self, watch_id: int, last: int) -> bool:
        """Whether it was sent an event of this revision or of a later one, or its end."""
        events = self.events.get(watch_id)
        return bool(events and events[-1].kv.mod_revision >= last) or any(
            response.canceled for response in self.others.get(watch_id, ())
        )


class Comparison:
    """The servers, and where they differed from the first."""

    def __init__(self, servers: Sequence[Asked]) -> None:
        self.servers = servers
        self.differences: list[Difference] = []
        self.asked = 0
        self.revision = 1
        self._watched = [Watched(server.watches()) for server in servers]
        self._watches: dict[int, WatchCreateRequest] = {}

    def watch(self, request: WatchCreateRequest, watch_id: int) -> None:
        """Begin a watch everywhere, and wait until it has begun."""
        request.watch_id = watch_id
        self._watches[watch_id] = request
        for watched in self._watched:
            watched.stream.create(request)
            while watch_id not in watched.others:
                watched.take()

    def run(self, requests: Requests, count: int) -> None:
        """Ask so many; reads go out together."""
        reads: list[Call] = []
        while self.asked + len(reads) < count:
            call = requests.next(self.revision)
            if call.method in READS:
                reads.append(call)
            else:
                self._ask(reads)
                reads.clear()
                self._ask([call])
            if len(reads) == READS_AT_ONCE:
                self._ask(reads)
                reads.clear()
        self._ask(reads)

    def ask(self, call: Call) -> Answer:
        """Ask one; the first server's answer."""
        return self._ask([call])[-1]

    def _ask(self, calls: Sequence[Call]) -> list[Answer]:
        begun = [[server.begin(call) for server in self.servers] for call in calls]
        expected = []
        for call, answers in zip(calls, begun, strict=True):
            self.asked += 1
            first, *others = [answer(call, each) for each in answers]
            assert not isinstance(first, Failure) or first.code != "UNAVAILABLE", (
                f"etcd crashed at {call}: {first.text}"
            )
            self._compare(call, first, others)
            expected.append(first)
            self.revision = max(self.revision, revision(first))
        return expected

    def _compare(self, asked: object, expected: object, others: Sequence[object]) -> None:
        for server, found in zip(self.servers[1:], others, strict=True):
            if found != expected:
                self.differences.append(Difference(self.asked, asked, server.name, expected, found))

    def end_watches(self) -> None:
        """Let every watch see a last event, and compare all that each was sent."""
        last = {}
        for watch_id, request in self._watches.items():
            put = self.ask(Call("KV/Put", PutRequest(key=request.key, value=b"the end")))
            gone = self.ask(Call("KV/DeleteRange", DeleteRangeRequest(key=request.key)))
            no_delete = WatchCreateRequest.NODELETE in request.filters
            last[watch_id] = revision(put if no_delete else gone)
        for watched in self._watched:
            while not all(watched.is_over(watch_id, end) for watch_id, end in last.items()):
                watched.take()
        for watch_id, end in last.items():
            first, *others = [_sent(watched, watch_id, end) for watched in self._watched]
            for number, server in enumerate(self.servers[1:]):
                self._compare_watch(self._watches[watch_id], server.name, first, others[number])

    def _compare_watch(
        self, asked: WatchCreateRequest, server: str, expected: Sequence[Message], found: Sequence[Message]
    ) -> None:
        """Where they differ is said from the first difference on."""
        if expected == found:
            return
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(expected, found, strict=False)))
        shown = slice(same, same + RESPONSES_SHOWN)
        self.differences.append(Difference(self.asked, asked, server, expected[shown], found[shown]))

    def close(self) -> None:
        for watched in self._watched:
            watched.stream.close()


def _sent(watched: Watched, watch_id: int, last: int) -> list[Message]:
    """The responses without events, and then the events."""
    events = [event for event in watched.events.get(watch_id, ()) if event.kv.mod_revision <= last]
    return [*watched.others.get(watch_id, ()), *events]
