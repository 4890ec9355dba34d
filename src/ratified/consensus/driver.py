"""The one loop around ``ready()``: an engine, its durable log, and what waits between the two.

A driver owns the engine while its process runs, and the log for ever. Whoever holds it says when time passes
(``turn``), when the disk has something (``complete``) and when the process dies (``crash``), and gives it ``Ports`` for
what leaves. Of the design's *Engine contract* it keeps, and asserts of the engine:

- Rule 1: a turn feeds some inputs, all with one ``now`` that never decreases, and drains one Ready. What disk, store
  and log answer (``persisted``, ``applied``, ``fetched``) are inputs of a further turn. Several Readys may be
  outstanding.
- Rule 2: tickets number the writes of a process from 1; they become durable in that order.
- Rule 3: ``send`` leaves at once; ``send_after`` leaves when its ticket is durable. A message belongs to the session
  that was current at its ``ready()``, and is dropped with it.
- Rule 4: a truncation acts on the log when the write that holds it is durable, behind all earlier writes.
- Rule 5: ``deliver`` comes before anything else of its Ready: in order, once, only what is durable here, and at most
  ``deliver_bytes_max`` that the store has not applied.
- A snapshot is installed when the write with its base is durable: ``Ports.install`` switches the store, ``installed``
  says so, and nothing is delivered between.

A crash forgets inputs, sessions, what waits, and every write in flight but a prefix.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    BaseRecord,
    Durable,
    Engine,
    Entry,
    Era,
    Fetch,
    Kind,
    Options,
    Ready,
    Record,
    Run,
    Send,
    SnapshotTo,
    StateRecord,
    TruncateRecord,
    Write,
)

Input: TypeAlias = Callable[[Engine, int], object]
"""One input, fed to the engine at the turn's ``now``."""


class DurableLog:
    """What a disk holds of one group's log: the engine's own state, the base, and entries by index (perhaps gaps)."""

    __slots__ = ("base", "entries", "state")

    def __init__(self, base: Base, state: bytes = b"", entries: Iterable[Entry] = ()) -> None:
        self.base = base
        self.state = state
        self.entries = {entry.index: entry for entry in entries}

    def take(self, records: Iterable[Record]) -> None:
        """These records are durable, behind all earlier ones."""
        for record in records:
            match record:
                case Entry():
                    self.entries[record.index] = record
                case StateRecord(data):
                    self.state = data
                case TruncateRecord(first):
                    for index in [index for index in self.entries if index >= first]:
                        del self.entries[index]
                case BaseRecord(base):
                    self.base = base
                    for index in [index for index in self.entries if index <= base.index]:
                        del self.entries[index]

    def in_order(self) -> list[Entry]:
        """All entries, by index."""
        return [self.entries[index] for index in sorted(self.entries)]

    def durable(self, applied: int, applied_era: Era = NO_ERA, tail_entries: int | None = None) -> Durable:
        """What an engine is started from; its tail has the last ``tail_entries`` entries (None: all)."""
        entries = self.in_order()
        runs: list[Run] = []
        for entry in entries:
            if runs and runs[-1].era == entry.era and runs[-1].last == entry.index - 1:
                runs[-1] = Run(runs[-1].first, entry.index, entry.era)
            else:
                runs.append(Run(entry.index, entry.index, entry.era))
        tail = entries if tail_entries is None else entries[max(0, len(entries) - tail_entries) :]
        memberships = [entry for entry in entries if entry.kind is Kind.MEMBERSHIP]
        return Durable(self.state, self.base, runs, tail, memberships, applied, applied_era)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where goes what leaves an engine."""

    send: Callable[[Send, int | None], None]
    """A message leaves, in this session; None: there is none with its target, as before the first or on datagrams."""
    deliver: Callable[[Sequence[Entry]], int] = lambda entries: entries[-1].index
    """Apply; returns the index up to which the store has applied by now. The rest is reported by ``applied``."""
    fetch: Callable[[Fetch], int] = lambda fetch: fetch.last - fetch.first + 1
    """How many of the entries asked for the log answers with; 0: the holder of the driver feeds ``fetched`` itself."""
    snapshot_to: Callable[[SnapshotTo], None] = lambda asked: None
    """Begin to send one; the holder of the driver feeds ``snapshot_sent``."""
    install: Callable[[Base], None] = lambda base: None
    """The base is durable: switch the store, then call ``installed``."""
    observe: Callable[[Ready], None] = lambda ready: None
    """Every Ready, before anything of it is acted on."""


class _Waiting(NamedTuple):
    """A message that waits for a ticket."""

    ticket: int
    send: Send
    session: int | None


class Driver:
    """One member's engine, from start to crash and on to the next start."""

    def __init__(
        self, engine: Callable[[int, Options, Durable], Engine], options: Options, log: DurableLog, ports: Ports
    ) -> None:
        self.options = options
        self.log = log
        self.inputs: deque[Input] = deque()
        """What the next turns feed."""
        self.writes: deque[Write] = deque()
        """Those in flight, oldest first."""
        self.sessions: dict[int, int] = {}
        """By peer, the number of the current session."""
        self.delivered: tuple[int, Era] = (log.base.index, log.base.era)
        """Index and era of the last entry delivered, in an earlier process perhaps."""
        self._eras = {log.base.index: log.base.era}
        """By index, the era with which it was delivered: what a store remembers with its applied index."""
        self._make_engine = engine
        self._ports = ports
        self._engine: Engine | None = None
        self._now = 0
        self._applied = 0
        self._ticket_issued = 0
        self._ticket_durable = 0
        self._waiting: list[_Waiting] = []
        self._install: tuple[int, Base] | None = None
        """The ticket of the write that holds the base to install, until ``installed``."""
        self._unapplied: deque[tuple[int, int]] = deque()
        """(last index, bytes) of each delivery that the store has not applied."""
        self._unapplied_bytes = 0

    # ------------------------------------------------------------------------------------------------- life

    @property
    def up(self) -> bool:
        return self._engine is not None

    @property
    def engine(self) -> Engine:
        """The running engine. What is fed to it directly becomes part of the next turn."""
        assert self._engine is not None, f"member {self.options.member} is down"
        return self._engine

    def start(self, now: int, *, applied: int = 0, tail_entries: int | None = None) -> None:
        """Start from the log, over a store with this applied index and with so much of the log in memory."""
        assert self._engine is None, f"member {self.options.member} is up"
        if applied == self.log.base.index:
            self._eras[applied] = self.log.base.era
        self.delivered = (applied, self._eras.get(applied, self.log.base.era))
        self._applied = applied
        self._ticket_issued = self._ticket_durable = 0
        self._now = now
        self._engine = self._make_engine(now, self.options, self.log.durable(*self.delivered, tail_entries))

    def crash(self, writes_kept: int = 0) -> None:
        """The process dies; of the writes in flight the disk has the first ``writes_kept``."""
        assert writes_kept <= len(self.writes), f"{len(self.writes)} writes are in flight, not {writes_kept}"
        for _ in range(writes_kept):
            self.log.take(self.writes.popleft().records)
        self._engine = None
        self._unapplied_bytes = 0
        self._install = None
        for forgotten in (self.inputs, self.writes, self.sessions, self._waiting, self._unapplied):
            forgotten.clear()

    # ----------------------------------------------------------------------------------------------- inputs

    def feed(self, action: Input) -> None:
        """An input for one of the next turns; a process that is down gets none."""
        if self._engine is not None:
            self.inputs.append(action)

    def connect(self, peer: int, session: int | None) -> None:
        """A session with ``peer`` is opened (its number), or lost (None): what waits for the old one is dropped."""
        if self._engine is None:
            return
        self._waiting = [each for each in self._waiting if each.send.to != peer]
        if session is None:
            self.sessions.pop(peer, None)
        else:
            self.sessions[peer] = session
        self.feed(lambda engine, now: engine.peer(now, peer, session))

    def applied(self, index: int) -> None:
        assert self._applied < index <= self.delivered[0], f"applied to {index}, between {self._applied} and delivered"
        self._applied = index
        while self._unapplied and self._unapplied[0][0] <= index:
            self._unapplied_bytes -= self._unapplied.popleft()[1]
        self.feed(lambda engine, now: engine.applied(now, index))

    def installed(self, base: Base) -> None:
        """The store is the snapshot's."""
        assert self._install is not None, "no snapshot is to be installed"
        assert self._install == (self._install[0], base), f"{base} is installed, and not {self._install[1]}"
        assert self._install[0] <= self._ticket_durable, f"the store is switched to {base}, which is not durable"
        self._install = None
        self.delivered = (base.index, base.era)
        self._eras[base.index] = base.era
        self._applied = base.index
        self._unapplied.clear()
        self._unapplied_bytes = 0
        self.feed(lambda engine, now: engine.installed(now, base))

    def complete(self, writes: int = 1) -> None:
        """The disk has the next ``writes`` of those in flight; what waited for them leaves."""
        if writes == 0:
            return
        ticket = self._ticket_durable
        for _ in range(writes):
            write = self.writes.popleft()
            self.log.take(write.records)
            self._ticket_durable = write.ticket
        before, ticket = ticket, self._ticket_durable
        self.feed(lambda engine, now: engine.persisted(now, ticket))
        if self._install is not None and before < self._install[0] <= ticket:
            self._ports.install(self._install[1])
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.ticket <= ticket:
                self._ports.send(each.send, each.session)
            else:
                self._waiting.append(each)

    # ------------------------------------------------------------------------------------------------ turns

    def turn(self, now: int, inputs_max: int | None = None) -> Ready | None:
        """Feed the next ``inputs_max`` inputs (None: all that wait), and act on the Ready that is returned, if any."""
        engine = self.engine
        assert now >= self._now, f"rule 1: time goes back from {self._now} to {now}"
        self._now = now
        waiting = len(self.inputs)
        for _ in range(waiting if inputs_max is None else min(waiting, inputs_max)):
            self.inputs.popleft()(engine, now)
        ready = engine.ready()
        if ready is not None:
            self._ports.observe(ready)
            self._act(ready)
        return ready

    def drain(self, now: int) -> None:
        """Turns, until there is nothing to do but to wait for the disk."""
        while self.turn(now) is not None:
            pass

    def settle(self, now: int) -> None:
        """Turns, each write durable at once, until there is nothing to do."""
        while self.turn(now) is not None or self.writes:
            self.complete(len(self.writes))

    def _act(self, ready: Ready) -> None:
        if ready.deliver:
            self._deliver(ready.deliver)
        for send in ready.send:
            self._ports.send(send, self.sessions.get(send.to))
        if ready.write is not None:
            self._ticket_issued += 1
            assert ready.write.ticket == self._ticket_issued, (
                f"rule 2: ticket {ready.write.ticket} where {self._ticket_issued} is due"
            )
            self.writes.append(ready.write)
        assert ready.after == self._ticket_issued, (
            f"rule 3: send_after waits for {ready.after}; the last ticket issued is {self._ticket_issued}"
        )
        for send in ready.send_after:
            session = self.sessions.get(send.to)
            if ready.after <= self._ticket_durable:
                self._ports.send(send, session)
            else:
                self._waiting.append(_Waiting(ready.after, send, session))
        for fetch in ready.fetch:
            self._answer(fetch)
        for asked in ready.snapshot_to:
            assert asked.index <= self._applied, f"{asked} is asked for, and what is applied ends at {self._applied}"
            self._ports.snapshot_to(asked)
        if ready.install is not None:
            assert self._install is None, "a snapshot is installed while another one is"
            assert ready.write is not None, "a snapshot is installed whose base is not in this write"
            assert BaseRecord(ready.install) in ready.write.records, "a snapshot is installed, its base is not written"
            assert ready.install.index > self.delivered[0], f"{ready.install} is delivered already"
            self._install = (ready.write.ticket, ready.install)

    def _deliver(self, entries: Sequence[Entry]) -> None:
        assert self._install is None, "entries are delivered while a snapshot is installed"
        (index, era), size = self.delivered, 0
        for entry in entries:
            index += 1
            assert entry.index == index, f"rule 5: entry {entry.index} is delivered where {index} is due"
            assert index in self.log.entries, f"rule 5: entry {index} is delivered and not durable here"
            assert entry.era >= era, f"entry {index} is delivered with era {entry.era} behind one with {era}"
            self._eras[index] = era = entry.era
            size += len(entry.encoded)
        self._unapplied.append((index, size))
        self._unapplied_bytes += size
        limit = self.options.limits.deliver_bytes_max
        assert self._unapplied_bytes <= limit or (len(entries) == 1 and len(self._unapplied) == 1), (
            f"rule 5: {self._unapplied_bytes} bytes are delivered and not applied; deliver_bytes_max is {limit}"
        )
        self.delivered = (index, entries[-1].era)
        applied = self._ports.deliver(entries)
        if applied > self._applied:
            self.applied(applied)

    def _answer(self, fetch: Fetch) -> None:
        assert fetch.first <= fetch.last, f"fetch {fetch.token} asks for {fetch.first} to {fetch.last}"
        last = fetch.first + self._ports.fetch(fetch) - 1
        assert last <= fetch.last, f"fetch {fetch.token} asks for less than up to {last}"
        if last >= fetch.first:
            assert {*range(fetch.first, last + 1)} <= self.log.entries.keys(), f"{fetch} asks for what the log lacks"
            entries = [self.log.entries[index] for index in range(fetch.first, last + 1)]
            self.feed(lambda engine, now: engine.fetched(now, fetch.token, entries))
