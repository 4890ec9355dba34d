"""Where a watch stands, without a transport: what to ask next, and what an answer means.

A watch goes on at another endpoint after a failure. It asks there for the revision behind the last one that it has
given to its user, so each event comes once and in order. That a server says how far it is does not move it: etcd before
3.4.25 and 3.5.8 said so while events of before were yet to come. Only where the server has compacted the revision
behind the last event since, what it said is believed, and the watch goes on there.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.client.calls import Text, encoded, range_end
from ratified.client.errors import CallRefused, Compacted, refusal
from ratified.client.results import Event, event
from ratified.wire.etcd import rpc_pb2

PROGRESS_REQUEST = rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()).SerializeToString()
"""Asks a member whether it is alive: it answers, whether there are events or not."""


class AskAgain(Exception):
    """The server ended the watch, and it goes on from another revision: ask it again."""


class WatchPosition:
    """One watch of one range. ``next_revision`` is where it goes on; 0: with what comes after its creation. Everything
    up to ``seen_revision`` was seen, as servers say. It has ``begun`` when a server has watched once: from then on an
    outage is one to wait for the end of."""

    def __init__(
        self, key: Text, *, prefix: bool = False, end: Text | None = None, revision: int = 0, previous: bool = False
    ) -> None:
        self._key = encoded(key)
        self._range_end = range_end(self._key, prefix=prefix, end=end)
        self._previous = previous
        self._fragments: list[Event] = []
        self.next_revision = revision
        self.seen_revision = max(revision - 1, 0)
        self.begun = False

    def request(self) -> bytes:
        """The request that creates the watch on a fresh stream."""
        self._fragments = []
        create = rpc_pb2.WatchCreateRequest(
            key=self._key or b"\0",
            range_end=self._range_end,
            start_revision=self.next_revision,
            progress_notify=True,
            prev_kv=self._previous,
            fragment=True,
        )
        return rpc_pb2.WatchRequest(create_request=create).SerializeToString()

    def on_response(self, answer: bytes) -> Sequence[Event] | None:
        """The events to give on: none where the server says only how far it is, None where it has said nothing whole.
        Raises ``AskAgain``, ``Compacted`` and ``CallRefused`` where the server ended the watch."""
        response = rpc_pb2.WatchResponse.FromString(answer)
        if response.canceled:
            if response.compact_revision:
                if self.next_revision < response.compact_revision <= self.seen_revision + 1:
                    self.next_revision = self.seen_revision + 1
                    raise AskAgain
                raise Compacted(
                    f"revision {self.next_revision} has been compacted, the first to watch is"
                    f" {response.compact_revision}",
                    response.compact_revision,
                )
            raise _refusal(response.cancel_reason)
        if response.created:
            self.begun = True
            if not self.next_revision:
                self.next_revision = response.header.revision + 1
                self.seen_revision = response.header.revision
            return None
        self._fragments.extend(map(event, response.events))
        if response.fragment:
            return None
        events, self._fragments = self._fragments, []
        if events:
            self.next_revision = events[-1].revision + 1
            self.seen_revision = max(self.seen_revision, events[-1].revision)
        else:
            self.seen_revision = max(self.seen_revision, response.header.revision)
        return events


def _refusal(reason: str) -> CallRefused:
    """etcd says some of its errors in the words of a gRPC library, code and all."""
    if not reason:
        return CallRefused("CANCELLED", "the server ended the watch")
    return refusal("CANCELLED", reason.rpartition(" desc = ")[2])
