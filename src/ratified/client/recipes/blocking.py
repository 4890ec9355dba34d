"""The recipes' face for threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Self, TypeVar

from ratified.client import calls
from ratified.client.calls import Text
from ratified.client.errors import ClientError, Compacted, Conflict, LeaseLost
from ratified.client.recipes import leases, queues, stm, turns
from ratified.client.recipes.steps import Carrier, ask
from ratified.client.recipes.turns import Place
from ratified.client.results import KeyValue

T = TypeVar("T")


class KeptLease:
    """A lease that a thread renews until it is closed; ``lost`` is set when it has ended, or may have, before that."""

    def __init__(self, carrier: Carrier, ttl: int) -> None:
        """Grants it. Raises ``ClientError``."""
        self._carrier = carrier
        sent_at = time.monotonic()
        granted = carrier.carry_out(ask(calls.lease_grant(ttl, 0)))
        self.id = granted.id
        self.ttl = granted.ttl
        self.lost = threading.Event()
        self._closed = threading.Event()
        self._renewals = leases.Renewals(granted.ttl, sent_at)
        self._thread = threading.Thread(target=self._keep, name=f"lease {self.id:x}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check(self) -> None:
        """Raises ``LeaseLost``."""
        if self.lost.is_set() or self._renewals.lost(time.monotonic()):
            raise LeaseLost(f"lease {self.id:x} has ended, or could not be renewed in time")

    def close(self) -> None:
        """Revoke it, and so delete its keys."""
        self._closed.set()
        self._thread.join()
        if not self.lost.is_set():
            self._carrier.carry_out(leases.end(self.id))

    def _keep(self) -> None:
        try:
            while not self._closed.wait(self._renewals.wait_s(time.monotonic())):
                sent_at = time.monotonic()
                if self._renewals.lost(sent_at):
                    return
                try:
                    left = self._carrier.carry_out(self._renewals.renewal(self.id, sent_at))
                except ClientError:
                    self._renewals.failed(time.monotonic())  # it is tried again until it has expired by our clock
                else:
                    self._renewals.renewed(left, sent_at)
        finally:
            if not self._closed.is_set():
                self.lost.set()


class _Turn:
    """A place under a name, taken with a lease of its own or with one that is given."""

    def __init__(self, carrier: Carrier, name: Text, lease: KeptLease | int) -> None:
        self._carrier = carrier
        self._name = name
        self._given = lease
        self._lease: KeptLease | None = None
        self.place: Place | None = None
        """What is held; None: nothing."""

    @property
    def lost(self) -> bool:
        """Has the lease under which it is held ended, or may have?"""
        return self._lease is not None and self._lease.lost.is_set()

    def wait_lost(self) -> None:
        _, lease = self._held()
        lease.lost.wait()

    def take(self, value: Text, timeout_s: float | None) -> Place:
        if self.place is not None:
            raise RuntimeError(f"{self._name!r} is held already")
        own_lease = isinstance(self._given, int)
        lease = self._lease = KeptLease(self._carrier, self._given) if isinstance(self._given, int) else self._given
        try:
            plan = turns.take(self._name, lease.id, value, own_lease=own_lease)
            self.place = self._carrier.carry_out(plan, timeout_s)
            lease.check()
        except BaseException:
            self._give_up(lease)
            raise
        return self.place

    def change(self, value: Text) -> int:
        place, lease = self._held()
        return self._carrier.carry_out(turns.proclaim(place, lease.id, value))

    def leave(self) -> None:
        place, lease = self._held()
        self.place = self._lease = None
        if isinstance(self._given, int):
            lease.close()
        else:
            self._carrier.carry_out(turns.leave(place))

    def _held(self) -> tuple[Place, KeptLease]:
        if self.place is None or self._lease is None:
            raise RuntimeError(f"{self._name!r} is not held")
        return self.place, self._lease

    def _give_up(self, lease: KeptLease) -> None:
        self.place = self._lease = None
        try:
            if isinstance(self._given, int):
                lease.close()
            else:
                self._carrier.carry_out(turns.forget(self._name, lease.id))
        except ClientError:
            return  # what made it fail is told; the place ends with the lease, which nobody renews


class Lock:
    """A lock: ``with client.lock("jobs", 30) as place: ...``; held by one at a time while its lease lives.

    What must not happen after the lock is lost is done in a transaction on ``place.held()``, or is given
    ``place.revision``, which grows with every holder.
    """

    def __init__(self, carrier: Carrier, name: Text, lease: KeptLease | int) -> None:
        self._turn = _Turn(carrier, name, lease)

    @property
    def lost(self) -> bool:
        """Has the lease under which it is held ended, or may have?"""
        return self._turn.lost

    def wait_lost(self) -> None:
        """Return when it is lost."""
        self._turn.wait_lost()

    def acquire(self, timeout_s: float | None = None) -> Place:
        """Wait for it. Raises ``TimeoutError``, ``LeaseLost`` and ``ClientError``; nothing is held then."""
        return self._turn.take("", timeout_s)

    def release(self) -> None:
        self._turn.leave()

    def __enter__(self) -> Place:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Election:
    """Who leads under a name, and with which value."""

    def __init__(self, carrier: Carrier, name: Text, lease: KeptLease | int) -> None:
        self._carrier = carrier
        self._name = name
        self._turn = _Turn(carrier, name, lease)

    @property
    def lost(self) -> bool:
        """Has the lease under which we lead ended, or may have?"""
        return self._turn.lost

    def wait_lost(self) -> None:
        """Return when the lead is lost."""
        self._turn.wait_lost()

    def campaign(self, value: Text, timeout_s: float | None = None) -> Place:
        """Wait until we lead. Raises ``TimeoutError``, ``LeaseLost`` and ``ClientError``; we do not lead then."""
        return self._turn.take(value, timeout_s)

    def proclaim(self, value: Text) -> int:
        """Lead with another value; the revision of that. Raises ``LeaseLost``."""
        return self._turn.change(value)

    def resign(self) -> None:
        self._turn.leave()

    def leader(self) -> KeyValue | None:
        """The pair of who leads; None: nobody does."""
        return self._carrier.carry_out(turns.first(self._name))[0]

    def observe(self) -> Iterator[KeyValue]:
        """Who leads, and whoever leads next, for ever; one who leads only for a moment may be left out."""
        last: KeyValue | None = None
        while True:
            last = self._carrier.carry_out(turns.next_first(self._name, last))
            yield last


class Queue:
    """First in, first out. An item is gone when it is taken."""

    def __init__(self, carrier: Carrier, name: Text) -> None:
        self._carrier = carrier
        self._name = name

    def put(self, value: Text) -> bytes:
        """Add an item; its key."""
        return self._carrier.carry_out(queues.put(self._name, value))

    def get(self, timeout_s: float | None = None) -> bytes:
        """Take the oldest item. Raises ``TimeoutError``; after ``CallOutcomeUnknown`` an item may be lost."""
        return self._carrier.carry_out(queues.get(self._name), timeout_s)

    def get_nowait(self) -> bytes | None:
        """Take the oldest item; None: there is none."""
        return self._carrier.carry_out(queues.get_nowait(self._name))


class Barrier:
    """Closed while its key is there: everybody who waits goes on when it is released."""

    def __init__(self, carrier: Carrier, name: Text) -> None:
        self._carrier = carrier
        self._name = name

    def hold(self, lease: int = 0) -> bool:
        """Close it, with ``lease`` until that ends; False: it is closed already."""
        return self._carrier.carry_out(queues.hold(self._name, lease))

    def release(self) -> bool:
        """Open it; False: it is open already."""
        return self._carrier.carry_out(queues.release(self._name))

    def wait(self, timeout_s: float | None = None) -> None:
        """Return when it is open. Raises ``TimeoutError``."""
        self._carrier.carry_out(queues.wait(self._name), timeout_s)


class Transaction:
    """What a function given to ``client.stm`` reads and writes with."""

    def __init__(self, carrier: Carrier, attempt: stm.Attempt) -> None:
        self._carrier = carrier
        self._attempt = attempt

    def get(self, key: Text) -> bytes | None:
        """The key's value, as this transaction has left it; None: it is not there."""
        return self._carrier.carry_out(self._attempt.get(key))

    def put(self, key: Text, value: Text, *, lease: int = 0) -> None:
        self._attempt.put(key, value, lease)

    def delete(self, key: Text) -> None:
        self._attempt.delete(key)


def run_stm(carrier: Carrier, apply: Callable[[Transaction], T], attempts: int) -> T:
    attempt = stm.Attempt()
    for _ in range(attempts):
        try:
            result = apply(Transaction(carrier, attempt))
        except Compacted:
            attempt = stm.Attempt()  # it took longer than history is kept: begin with what there is now
            continue
        instead = carrier.carry_out(attempt.commit())
        if instead is None:
            return result
        attempt = instead
    raise Conflict(f"others wrote what the transaction reads or writes, {attempts} times: nothing was written")
