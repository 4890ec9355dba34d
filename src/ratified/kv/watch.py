"""Watches: every revision once, in order, and progress notifications.

Rules
1. A watcher is *synced*, when the hub hands it each change as it is applied, or it *catches up*, in slices, from the
   events table, and joins the hub where that ends. Nothing is applied between the two, so nothing is missed. All that
   catch up read the table together (``event_chunks``).
2. All events of one revision go out in one response, however many slices it takes to read them; a response holds as
   many whole revisions as there is room for, at least one. Its header's revision is one up to which everything has been
   sent. To a client that asked for it a response goes in fragments, one behind the other, all but the last marked as
   such.
3. What waits for a watcher is bounded. One that falls behind by more goes back to catching up. What all responses of a
   turn hold is bounded too: a watcher that finds no room waits, and a revision that is longer takes the room of further
   turns.
4. A change is matched by one look-up among the watched keys and one walk through the tree of watched ranges, and wakes
   exactly the watchers that it concerns.
   Of a pending tombstone nobody is told. Who may be concerned goes back to catching up, and waits at its revision until
   all its events are in the table.
5. A request for progress waits while a watcher of its stream has something to send, and costs nothing meanwhile.
6. A watcher whose next revision is compacted before it was sent is cancelled and told where it can begin again; as in
   etcd that is all it is told, no revision and no reason.
7. Whoever watches must be permitted to read the keys, at the beginning and whenever something is to be sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from typing_extensions import override

from ratified.kv import names
from ratified.kv.auth import Auth
from ratified.kv.encoding import OK, field, header, varint
from ratified.kv.errors import EtcdError
from ratified.kv.event_chunks import Chunk, EventChunks
from ratified.kv.identity import Identity
from ratified.kv.intervals import Interval, IntervalMap, interval
from ratified.kv.limits import KvLimits
from ratified.kv.mvcc import Change, Mvcc
from ratified.kv.tombstones import Tombstone
from ratified.machine import Continuation, Slice
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import WatchCreateRequest

CREATED = b"\x18\x01"
CANCELED = b"\x20\x01"
FRAGMENT = b"\x38\x01"
"""With this field a response begins of which further fragments follow; all others begin with their header."""
COMPACTED = header(0)
"""With a header without a revision the response begins by which a compaction ends a watch, and no other."""
NO_WATCH_ID = b"\x10" + varint(-1)


class WatchStream:
    """The watchers of one stream of a client, and its requests for progress."""

    __slots__ = ("behind", "requests", "watchers")

    def __init__(self) -> None:
        self.watchers: dict[Watcher, None] = {}
        self.behind: dict[Watcher, None] = {}
        """Those that have something to send."""
        self.requests: dict[ProgressRequest, None] = {}
        """Those that wait for the watchers behind."""


class WatchHub:
    """All watchers of one store."""

    def __init__(self, mvcc: Mvcc, limits: KvLimits, auth: Auth) -> None:
        self.mvcc = mvcc
        self.limits = limits
        self.auth = auth
        self.chunks = EventChunks(mvcc, limits)
        self._keys: dict[bytes, dict[Watcher, None]] = {}
        self._ranges: IntervalMap[Watcher] = IntervalMap()
        self._synced: dict[Watcher, None] = {}
        self._catching_up: dict[Watcher, None] = {}
        self._waiting: dict[Watcher, None] = {}
        """Those that wait for a tombstone."""
        self._woken: dict[Continuation, None] = {}
        self._streams: dict[int, WatchStream] = {}
        """By number; one without a watcher left is forgotten."""
        self._response_bytes_left = limits.watch_response_bytes_a_turn

    @property
    def counts(self) -> tuple[int, int, int]:
        """Watchers, those of them that have not been sent all that there is, and streams."""
        watchers = sum(len(stream.watchers) for stream in self._streams.values())
        return watchers, watchers - len(self._synced), len(self._streams)

    def open(self, stream: int, request: WatchCreateRequest, who: Identity | None = None) -> Watcher:
        """Begin a watch from now, or from the revision that the request says."""
        watcher = Watcher(self, stream, request, who)
        state = self._streams.setdefault(stream, WatchStream())
        state.watchers[watcher] = state.behind[watcher] = None
        return watcher

    def disown(self, user: str) -> None:
        """There is no such user any more, and who is called so later is somebody else."""
        for stream in self._streams.values():
            for watcher in stream.watchers:
                watcher.disown(user)

    def forget(self, watcher: Watcher) -> None:
        self.leave(watcher)
        self._catching_up.pop(watcher, None)
        self._waiting.pop(watcher, None)
        self._woken.pop(watcher, None)
        stream = self._streams.get(watcher.stream)
        if stream is not None:
            stream.watchers.pop(watcher, None)
            self._caught_up(stream, watcher)
            if not stream.watchers:
                del self._streams[watcher.stream]

    def moved(self, watcher: Watcher) -> None:
        """An open watcher has got something to send, or has sent something."""
        stream = self._streams[watcher.stream]
        if watcher.current:
            self._caught_up(stream, watcher)
        else:
            stream.behind[watcher] = None

    def _caught_up(self, stream: WatchStream, watcher: Watcher) -> None:
        stream.behind.pop(watcher, None)
        if stream.requests and not stream.behind:
            for request in stream.requests:
                self._woken[request] = None
            stream.requests.clear()

    def join(self, watcher: Watcher) -> None:
        """The watcher has seen everything up to the present revision; hand it what comes."""
        self._catching_up.pop(watcher, None)
        self._synced[watcher] = None
        self.mvcc.listening = True
        if watcher.single:
            self._keys.setdefault(watcher.wanted.first, {})[watcher] = None
        else:
            self._ranges.add(watcher.wanted, watcher)

    def follow(self, watcher: Watcher) -> None:
        """The watcher reads the events table, from wherever it is."""
        self.leave(watcher)
        self._catching_up[watcher] = None

    def leave(self, watcher: Watcher) -> None:
        """Hand it nothing any more."""
        if watcher not in self._synced:
            return
        del self._synced[watcher]
        if watcher.single:
            watchers = self._keys[watcher.wanted.first]
            del watchers[watcher]
            if not watchers:
                del self._keys[watcher.wanted.first]
        else:
            self._ranges.remove(watcher.wanted, watcher)
        self.mvcc.listening = bool(self._synced)

    def publish(self, changes: Sequence[Change]) -> None:
        """Hand the changes of one revision to those that watch their keys."""
        for change in changes:
            concerned = list(self._keys.get(change.key, ()))
            if self._ranges:
                concerned += self._ranges.holding(change.key)
            for watcher in concerned:
                if watcher.accept(change):
                    self._woken[watcher] = None

    def woken(self, now: int) -> Sequence[Continuation]:
        """Who has something to send, in the order in which they were woken; each once. A turn begins."""
        bytes_max = self.limits.watch_response_bytes_a_turn
        self._response_bytes_left = min(self._response_bytes_left + bytes_max, bytes_max)
        self.chunks.begin_turn(now, wanted=bool(self._catching_up))
        if not self._woken:
            return ()
        woken, self._woken = list(self._woken), {}
        return woken

    def catch_up_all(self, tombstone: Tombstone | None = None) -> None:
        """Much is about to change, or only what this tombstone may cover: who watches that reads the events table."""
        for watcher in list(self._synced):
            if tombstone is None or tombstone.meets(watcher.wanted.first, watcher.wanted.end):
                watcher.fall_behind()
                self._woken[watcher] = None

    @property
    def takes_response(self) -> bool:
        """Whether this turn has room for one more."""
        return self._response_bytes_left > 0

    def count_response(self, size_bytes: int) -> None:
        self._response_bytes_left -= size_bytes

    def await_tombstone(self, watcher: Watcher) -> None:
        """Wake it when a tombstone is done with."""
        self._waiting[watcher] = None

    def awaits_tombstone(self, watcher: Watcher) -> bool:
        return watcher in self._waiting

    def on_tombstone_done(self) -> None:
        """All events of a tombstone are in the table, or it is gone with the whole state."""
        waiting, self._waiting = self._waiting, {}
        for watcher in waiting:
            self._woken[watcher] = None

    def await_sync(self, request: ProgressRequest) -> None:
        """Wake the request when its stream has sent everything."""
        if self.stream_is_current(request.stream):
            self._woken[request] = None
        else:
            self._streams[request.stream].requests[request] = None

    def withdraw(self, request: ProgressRequest) -> None:
        self._woken.pop(request, None)
        stream = self._streams.get(request.stream)
        if stream is not None:
            stream.requests.pop(request, None)

    def stream_is_current(self, stream: int) -> bool:
        """Whether all watchers of a stream have sent everything up to the present revision."""
        state = self._streams.get(stream)
        return state is None or not state.behind


class Watcher(Continuation):
    """One watch, as a continuation."""

    def __init__(self, hub: WatchHub, stream: int, request: WatchCreateRequest, who: Identity | None) -> None:
        self.stream = stream
        self._who = who
        self._permitted_at = hub.auth.stage
        self.wanted: Interval = interval(request.key or b"\x00", request.range_end)
        self.single = not request.range_end
        self._hub = hub
        self._puts = WatchCreateRequest.NOPUT not in request.filters
        self._deletes = WatchCreateRequest.NODELETE not in request.filters
        self._with_previous = request.prev_kv
        self._progress = request.progress_notify
        self._fragments = request.fragment
        self._waiting: deque[Change] | None = None
        """What the hub handed over; None while it is nothing, so that a quiet watcher is one object less."""
        self._waiting_bytes = 0
        self._created = False
        self._over = False
        self._quiet_since = 0
        self._unsent: _Unsent | None = None
        """What was read; None while that is nothing."""
        self._sub = 0
        """Where to read on in ``_next``."""
        self._begun_at = present = hub.mvcc.revision
        self._refusal = self._why_refused()
        # As in etcd -1 is no revision that was compacted while nothing was, and is taken for 0 then.
        is_from_now = request.start_revision in (0, hub.mvcc.compact_revision) and request.start_revision <= 0
        self._next = present + 1 if is_from_now else request.start_revision
        self._synced = self._refusal is None and self._next > present
        if self._synced:
            hub.join(self)
        elif self._refusal is None:
            hub.follow(self)

    def _why_refused(self) -> str | None:
        auth = self._hub.auth
        try:
            auth.check_reads(auth.admit(self._who), self.wanted)
        except EtcdError as error:
            return errors.as_reason(error.code, error.text)
        return None

    def disown(self, user: str) -> None:
        """Be nobody's from now on, if it is this user's."""
        if self._who is not None and self._who.user == user:
            self._who = None

    @property
    @override
    def deadline(self) -> int | None:
        if self._over:
            return None
        if self._hub.awaits_tombstone(self):
            return None
        if not self._created or not self._synced or self._waiting:
            return 0
        return self._quiet_since + self._hub.limits.watch_progress_us if self._progress else None

    @property
    def current(self) -> bool:
        """Whether everything up to the present revision has been sent."""
        return self._created and self._synced and not self._waiting

    def accept(self, change: Change) -> bool:
        """Take a change from the hub; False where it does not concern this watch after all."""
        if change.revision < self._next or not (self._deletes if change.deleted else self._puts):
            return False
        self._waiting_bytes += change.size_bytes
        if self._waiting is None:
            self._waiting = deque((change,))
            self._hub.moved(self)
            return True
        waiting, limits = self._waiting, self._hub.limits
        waiting.append(change)
        if waiting[0].revision != change.revision and (
            len(waiting) > limits.watch_pending_events_max or self._waiting_bytes > limits.watch_pending_bytes_max
        ):
            self.fall_behind()
        return True

    def fall_behind(self) -> None:
        """Drop what waits, and go on from the events table."""
        seen = self._waiting[0].revision - 1 if self._waiting else self._hub.mvcc.revision
        self._next = max(self._next, seen + 1)
        self._waiting = None
        self._waiting_bytes = 0
        self._synced = False
        self._hub.follow(self)
        self._hub.moved(self)

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        if self._over:
            return Slice((), True)
        chunks: list[bytes] = []
        if self._created and self._permitted_at != self._hub.auth.stage:
            self._permitted_at = self._hub.auth.stage
            if not self._hub.auth.still_reads(self._who, self.wanted):
                return self._end(CANCELED + _reason(errors.PERMISSION_DENIED.text))
        if not self._created:
            self._created = True
            self._quiet_since = now
            if self._refusal is not None:
                return self._end(CREATED + CANCELED + _reason(self._refusal))
            # Not the present revision: what has been applied since the watch was opened is still to be sent.
            chunks.append(OK + header(self._begun_at) + CREATED)
        elif not self._synced and self._next < self._hub.mvcc.compact_revision:
            compacted = CANCELED + b"\x28" + varint(self._hub.mvcc.compact_revision)
            return self._end(compacted, begins=COMPACTED)
        elif not self._synced:
            chunks += self._catch_up(rows_max, bytes_max)
        elif self._waiting:
            chunks += self._send_waiting(self._waiting, rows_max, bytes_max)
        elif self._progress and now >= self._quiet_since + self._hub.limits.watch_progress_us:
            chunks.append(OK + header(self._hub.mvcc.revision))
        if chunks:
            self._quiet_since = now
        self._hub.moved(self)
        return Slice(chunks, False)

    @override
    def cancel(self) -> None:
        self._over = True
        self._waiting = self._unsent = None
        self._hub.forget(self)

    def _end(self, fields: bytes, begins: bytes | None = None) -> Slice:
        chunk = OK + (begins or header(self._hub.mvcc.revision)) + fields
        self.cancel()
        return Slice([chunk], True)

    def _send_waiting(self, waiting: deque[Change], rows_max: int, bytes_max: int) -> Sequence[bytes]:
        """One response of whole revisions from those that the hub handed over."""
        if not self._hub.takes_response:
            return ()
        events: list[bytes] = []
        room, last = bytes_max, waiting[0].revision
        while waiting and (waiting[0].revision == last or (room > 0 and len(events) < rows_max)):
            change = waiting.popleft()
            self._waiting_bytes -= change.size_bytes
            last = change.revision
            events.append(change.event(self._with_previous))
            room -= len(events[-1])
        self._next = last + 1
        if waiting:
            return self._responses(events, last)
        self._waiting = None
        return self._responses(events, self._hub.mvcc.revision)

    def _catch_up(self, rows_max: int, bytes_max: int) -> Sequence[bytes]:
        """One response of whole revisions from the events table; join the hub where the table ends.

        A revision that is too long for one slice is read in several, and waits in ``_unsent`` meanwhile.
        """
        unsent = self._unsent = self._unsent or _Unsent()
        if not unsent.whole:
            self._read(unsent, rows_max, bytes_max)
        if unsent.whole and not self._hub.takes_response:
            return ()
        events, unsent.whole = unsent.whole, []
        told = self._next - 1
        if not unsent.partial:
            self._unsent = None
        if self._next >= self._hub.mvcc.first_unwritten(self._next):
            self._end_of_table()
        return self._responses(events, told) if events else ()

    def _end_of_table(self) -> None:
        """All that is written was read and sent."""
        if self._next <= self._hub.mvcc.revision:
            self._hub.await_tombstone(self)
        else:
            self._synced = True
            self._hub.join(self)

    def _read(self, unsent: _Unsent, rows_max: int, bytes_max: int) -> None:
        """Take events, or pass over chunks without any, while there is room and something to be read."""
        hub = self._hub
        while rows_max > 0 and bytes_max > 0 and self._next < hub.mvcc.first_unwritten(self._next):
            at = names.position(self._next, self._sub)
            chunk = hub.chunks.at(at)
            if chunk is None:
                break
            rows, size_bytes = self._take(chunk.matching(self.wanted, at), chunk, unsent, rows_max, bytes_max)
            rows_max -= max(rows, 1)
            bytes_max -= size_bytes
        if self._next > unsent.partial_of:
            unsent.end_revision()

    def _take(
        self, numbers: Sequence[int], chunk: Chunk, unsent: _Unsent, rows_max: int, bytes_max: int
    ) -> tuple[int, int]:
        """These rows of the chunk, while there is room; gives how many rows and bytes that was."""
        rows = size_bytes = 0
        for number in numbers:
            if rows >= rows_max or size_bytes >= bytes_max:
                self._next, self._sub = names.read_position(chunk.position(number))
                return rows, size_bytes
            rows += 1
            if self._deletes if chunk.is_deletion(number) else self._puts:
                event = chunk.event(number, self._with_previous)
                unsent.add(chunk.revisions[number], event)
                size_bytes += len(event)
        self._next, self._sub = names.read_position(chunk.end)
        return rows, size_bytes

    def _responses(self, events: Sequence[bytes], revision: int) -> Sequence[bytes]:
        """One response; or its fragments, where the client asked for them."""
        head = header(revision)
        if self._fragments:
            *fragments, last = _packed(events, self._hub.limits.watch_fragment_bytes_max)
        else:
            fragments, last = [], events
        responses = [b"".join([OK, FRAGMENT, head, *fragment]) for fragment in fragments]
        responses.append(b"".join([OK, head, *last]))
        self._hub.count_response(sum(map(len, responses)))
        return responses


class _Unsent:
    """What a watcher that catches up has read, as fields of a response, and not sent yet."""

    __slots__ = ("partial", "partial_of", "whole")

    def __init__(self) -> None:
        self.whole: list[bytes] = []
        """Of whole revisions."""
        self.partial: list[bytes] = []
        """Of a revision that may go on, which is ``partial_of``."""
        self.partial_of = 0

    def add(self, revision: int, event: bytes) -> None:
        if revision != self.partial_of:
            self.end_revision()
            self.partial_of = revision
        self.partial.append(event)

    def end_revision(self) -> None:
        """Nothing is to come of it."""
        if self.whole:
            self.whole += self.partial
        else:
            self.whole = self.partial
        self.partial = []


def _reason(text: str) -> bytes:
    return field(b"\x32", text.encode())


def _packed(fields: Sequence[bytes], bytes_max: int) -> Sequence[Sequence[bytes]]:
    """The same fields in the same order, as many together as ``bytes_max`` admits, at least one."""
    packed: list[list[bytes]] = [[]]
    size = 0
    for each in fields:
        if packed[-1] and size + len(each) > bytes_max:
            packed.append([])
            size = 0
        packed[-1].append(each)
        size += len(each)
    return packed


class ProgressRequest(Continuation):
    """A client asks how far its stream has come: answered when all its watchers have sent everything."""

    def __init__(self, hub: WatchHub, stream: int) -> None:
        self.stream = stream
        self._hub = hub
        hub.await_sync(self)

    @property
    @override
    def deadline(self) -> int | None:
        return None

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        if not self._hub.stream_is_current(self.stream):
            self._hub.await_sync(self)
            return Slice((), False)
        return Slice([OK + header(self._hub.mvcc.revision) + NO_WATCH_ID], True)

    @override
    def cancel(self) -> None:
        self._hub.withdraw(self)
