"""The recipes' face for asyncio: those of ``blocking``, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self, TypeVar

from ratified.client import calls
from ratified.client.calls import Text
from ratified.client.errors import ClientError, Compacted, Conflict, LeaseLost
from ratified.client.recipes import leases, queues, stm, turns
from ratified.client.recipes.steps import AsyncCarrier, ask
from ratified.client.recipes.turns import Place
from ratified.client.results import KeyValue

T = TypeVar("T")


class AsyncKeptLease:
    """A lease that a task renews until it is closed; ``lost`` is set when it has ended, or may have, before that."""

    def __init__(self, carrier: AsyncCarrier, ttl: int) -> None:
        self._carrier = carrier
        self.id = 0
        """0: it has not begun."""
        self.ttl = ttl
        self.lost = asyncio.Event()
        self._renewals: leases.Renewals | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def begin(self) -> Self:
        """Grant it. Raises ``ClientError``."""
        sent_at = asyncio.get_running_loop().time()
        granted = await self._carrier.carry_out(ask(calls.lease_grant(self.ttl, 0)))
        self.id, self.ttl = granted.id, granted.ttl
        self._renewals = leases.Renewals(granted.ttl, sent_at)
        self._task = asyncio.create_task(self._keep(self._renewals), name=f"lease {self.id:x}")
        return self

    async def __aenter__(self) -> Self:
        return await self.begin()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def check(self) -> None:
        """Raises ``LeaseLost``."""
        renewals = self._renewals
        if renewals is None or self.lost.is_set() or renewals.lost(asyncio.get_running_loop().time()):
            raise LeaseLost(f"lease {self.id:x} has ended, or could not be renewed in time")

    async def close(self) -> None:
        """Revoke it, and so delete its keys."""
        if self._task is None:
            return
        self._closed = True
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self.lost.is_set():
            await self._carrier.carry_out(leases.end(self.id))

    async def _keep(self, renewals: leases.Renewals) -> None:
        now = asyncio.get_running_loop().time
        try:
            while not renewals.lost(now()):
                await asyncio.sleep(renewals.wait_s(now()))
                sent_at = now()
                try:
                    left = await self._carrier.carry_out(renewals.renewal(self.id, sent_at))
                except ClientError:
                    renewals.failed(now())  # it is tried again until it has expired by our clock
                else:
                    renewals.renewed(left, sent_at)
        finally:
            if not self._closed:
                self.lost.set()


class _Turn:
    """A place under a name, taken with a lease of its own or with one that is given."""

    def __init__(self, carrier: AsyncCarrier, name: Text, lease: AsyncKeptLease | int) -> None:
        self._carrier = carrier
        self._name = name
        self._given = lease
        self._lease: AsyncKeptLease | None = None
        self.place: Place | None = None
        """What is held; None: nothing."""

    @property
    def lost(self) -> bool:
        """Has the lease under which it is held ended, or may have?"""
        return self._lease is not None and self._lease.lost.is_set()

    async def wait_lost(self) -> None:
        _, lease = self._held()
        await lease.lost.wait()

    async def take(self, value: Text, timeout_s: float | None) -> Place:
        if self.place is not None:
            raise RuntimeError(f"{self._name!r} is held already")
        own_lease = isinstance(self._given, int)
        lease = self._given
        if isinstance(lease, int):
            lease = await AsyncKeptLease(self._carrier, lease).begin()
        self._lease = lease
        try:
            plan = turns.take(self._name, lease.id, value, own_lease=own_lease)
            self.place = await self._carrier.carry_out(plan, timeout_s)
            lease.check()
        except BaseException:
            await self._give_up(lease)
            raise
        return self.place

    async def change(self, value: Text) -> int:
        place, lease = self._held()
        return await self._carrier.carry_out(turns.proclaim(place, lease.id, value))

    async def leave(self) -> None:
        place, lease = self._held()
        self.place = self._lease = None
        if isinstance(self._given, int):
            await lease.close()
        else:
            await self._carrier.carry_out(turns.leave(place))

    def _held(self) -> tuple[Place, AsyncKeptLease]:
        if self.place is None or self._lease is None:
            raise RuntimeError(f"{self._name!r} is not held")
        return self.place, self._lease

    async def _give_up(self, lease: AsyncKeptLease) -> None:
        self.place = self._lease = None
        try:
            if isinstance(self._given, int):
                await lease.close()
            else:
                await self._carrier.carry_out(turns.forget(self._name, lease.id))
        except ClientError:
            return  # what made it fail is told; the place ends with the lease, which nobody renews


class AsyncLock:
    """A lock: ``async with client.lock("jobs", 30) as place: ...``; held by one at a time while its lease lives.

    What must not happen after the lock is lost is done in a transaction on ``place.held()``, or is given
    ``place.revision``, which grows with every holder.
    """

    def __init__(self, carrier: AsyncCarrier, name: Text, lease: AsyncKeptLease | int) -> None:
        self._turn = _Turn(carrier, name, lease)

    @property
    def lost(self) -> bool:
        """Has the lease under which it is held ended, or may have?"""
        return self._turn.lost

    async def wait_lost(self) -> None:
        """Return when it is lost."""
        await self._turn.wait_lost()

    async def acquire(self, timeout_s: float | None = None) -> Place:
        """Wait for it. Raises ``TimeoutError``, ``LeaseLost`` and ``ClientError``; nothing is held then."""
        return await self._turn.take("", timeout_s)

    async def release(self) -> None:
        await self._turn.leave()

    async def __aenter__(self) -> Place:
        return await self.acquire()

    async def __aexit__(self, *_: object) -> None:
        await self.release()


class AsyncElection:
    """Who leads under a name, and with which value."""

    def __init__(self, carrier: AsyncCarrier, name: Text, lease: AsyncKeptLease | int) -> None:
        self._carrier = carrier
        self._name = name
        self._turn = _Turn(carrier, name, lease)

    @property
    def lost(self) -> bool:
        """Has the lease under which we lead ended, or may have?"""
        return self._turn.lost

    async def wait_lost(self) -> None:
        """Return when the lead is lost."""
        await self._turn.wait_lost()

    async def campaign(self, value: Text, timeout_s: float | None = None) -> Place:
        """Wait until we lead. Raises ``TimeoutError``, ``LeaseLost`` and ``ClientError``; we do not lead then."""
        return await self._turn.take(value, timeout_s)

    async def proclaim(self, value: Text) -> int:
        """Lead with another value; the revision of that. Raises ``LeaseLost``."""
        return await self._turn.change(value)

    async def resign(self) -> None:
        await self._turn.leave()

    async def leader(self) -> KeyValue | None:
        """The pair of who leads; None: nobody does."""
        return (await self._carrier.carry_out(turns.first(self._name)))[0]

    async def observe(self) -> AsyncIterator[KeyValue]:
        """Who leads, and whoever leads next, for ever; one who leads only for a moment may be left out."""
        last: KeyValue | None = None
        while True:
            last = await self._carrier.carry_out(turns.next_first(self._name, last))
            yield last


class AsyncQueue:
    """First in, first out. An item is gone when it is taken."""

    def __init__(self, carrier: AsyncCarrier, name: Text) -> None:
        self._carrier = carrier
        self._name = name

    async def put(self, value: Text) -> bytes:
        """Add an item; its key."""
        return await self._carrier.carry_out(queues.put(self._name, value))

    async def get(self, timeout_s: float | None = None) -> bytes:
        """Take the oldest item. Raises ``TimeoutError``; after ``CallOutcomeUnknown`` an item may be lost."""
        return await self._carrier.carry_out(queues.get(self._name), timeout_s)

    async def get_nowait(self) -> bytes | None:
        """Take the oldest item; None: there is none."""
        return await self._carrier.carry_out(queues.get_nowait(self._name))


class AsyncBarrier:
    """Closed while its key is there: everybody who waits goes on when it is released."""

    def __init__(self, carrier: AsyncCarrier, name: Text) -> None:
        self._carrier = carrier
        self._name = name

    async def hold(self, lease: int = 0) -> bool:
        """Close it, with ``lease`` until that ends; False: it is closed already."""
        return await self._carrier.carry_out(queues.hold(self._name, lease))

    async def release(self) -> bool:
        """Open it; False: it is open already."""
        return await self._carrier.carry_out(queues.release(self._name))

    async def wait(self, timeout_s: float | None = None) -> None:
        """Return when it is open. Raises ``TimeoutError``."""
        await self._carrier.carry_out(queues.wait(self._name), timeout_s)


class AsyncTransaction:
    """What a function given to ``client.stm`` reads and writes with."""

    def __init__(self, carrier: AsyncCarrier, attempt: stm.Attempt) -> None:
        self._carrier = carrier
        self._attempt = attempt

    async def get(self, key: Text) -> bytes | None:
        """The key's value, as this transaction has left it; None: it is not there."""
        return await self._carrier.carry_out(self._attempt.get(key))

    def put(self, key: Text, value: Text, *, lease: int = 0) -> None:
        self._attempt.put(key, value, lease)

    def delete(self, key: Text) -> None:
        self._attempt.delete(key)


async def run_stm(carrier: AsyncCarrier, apply: Callable[[AsyncTransaction], Awaitable[T]], attempts: int) -> T:
    attempt = stm.Attempt()
    for _ in range(attempts):
        try:
            result = await apply(AsyncTransaction(carrier, attempt))
        except Compacted:
            attempt = stm.Attempt()  # it took longer than history is kept: begin with what there is now
            continue
        instead = await carrier.carry_out(attempt.commit())
        if instead is None:
            return result
        attempt = instead
    raise Conflict(f"others wrote what the transaction reads or writes, {attempts} times: nothing was written")
