"""Locks and elections: who comes first under a name, by a key under its lease."""

from __future__ import annotations

from typing import NamedTuple

from ratified.client import calls
from ratified.client.calls import Compare, Do, Text, compare_create, encoded
from ratified.client.errors import Compacted, LeaseLost
from ratified.client.recipes.steps import Plan, ask, change_of
from ratified.client.results import KeyValue, Range


class Place(NamedTuple):
    """A place in the queue of a name. ``revision`` created its key, and grows with every holder: a fencing token."""

    key: bytes
    revision: int

    def held(self) -> Compare:
        """The condition, for a transaction, that the place is still held."""
        return compare_create(self.key, "==", self.revision)


def take(name: Text, lease: int, value: Text, *, own_lease: bool) -> Plan[Place]:
    """Queue up under a name, and wait until all who came before are gone. Raises ``LeaseLost``.

    ``own_lease``: the lease is for this place alone, and ends with it.
    """
    place = yield from queue_up(name, lease, value, own_lease=own_lease)
    yield from _wait_for_turn(_prefix(name), place)
    return place


def queue_up(name: Text, lease: int, value: Text, *, own_lease: bool) -> Plan[Place]:
    """The place of a lease under a name; one that it has already is kept, with a new value."""
    key = _prefix(name) + f"{lease:x}".encode()
    absent = calls.txn([compare_create(key, "==", 0)], [Do.put(key, value, lease=lease)], [Do.get(key)])
    taken = yield from ask(absent._replace(repeatable=own_lease))
    if taken.succeeded:
        return Place(key, taken.revision)
    (found,) = taken.results
    assert isinstance(found, Range)
    (pair,) = found.pairs
    place = Place(key, pair.create_revision)
    if pair.value != encoded(value):
        yield from proclaim(place, lease, value)
    return place


def proclaim(place: Place, lease: int, value: Text) -> Plan[int]:
    """Give a place another value; the revision of that. Raises ``LeaseLost`` where the place is gone."""
    done = yield from ask(calls.txn([place.held()], [Do.put(place.key, value, lease=lease)], []))
    if not done.succeeded:
        raise LeaseLost(f"{place.key.decode(errors='backslashreplace')} is gone: its lease has ended")
    return done.revision


def leave(place: Place) -> Plan[None]:
    """Give a place up; one that is gone is no error."""
    yield from ask(calls.txn([place.held()], [Do.delete(place.key)], [])._replace(repeatable=True))


def forget(name: Text, lease: int) -> Plan[None]:
    """Give up the place that a lease may have under a name."""
    key = _prefix(name) + f"{lease:x}".encode()
    yield from ask(calls.delete(calls.delete_request(key)))


def first(name: Text) -> Plan[tuple[KeyValue | None, int]]:
    """The pair of who comes first under a name, and the revision of the answer."""
    request = calls.range_request(_prefix(name), prefix=True, sort_by="create", limit=1)
    found = yield from ask(calls.ranged(request))
    return (found.pairs[0] if found.pairs else None), found.revision


def next_first(name: Text, last: KeyValue | None) -> Plan[KeyValue]:
    """Wait until another pair than ``last`` comes first under a name, or the same with another value."""
    while True:
        now, revision = yield from first(name)
        if now is not None and (last is None or now.mod_revision != last.mod_revision):
            return now
        yield from _until_changed(_prefix(name), revision + 1)


def _until_changed(prefix: bytes, revision: int) -> Plan[None]:
    try:
        yield from change_of(prefix, revision, prefix=True)
    except Compacted:
        return  # it has changed since, or not: who waits looks again


def _wait_for_turn(prefix: bytes, place: Place) -> Plan[None]:
    while True:
        request = calls.range_request(
            prefix,
            prefix=True,
            sort_by="create",
            descending=True,
            limit=1,
            keys_only=True,
            created_until=place.revision - 1,
        )
        before = yield from ask(calls.ranged(request))
        if not before.pairs:
            break
        try:
            yield from change_of(before.pairs[0].key, before.revision + 1, "delete")
        except Compacted:
            continue
    own = yield from ask(calls.ranged(calls.range_request(place.key)))
    if not own.pairs or own.pairs[0].create_revision != place.revision:
        raise LeaseLost(f"{place.key.decode(errors='backslashreplace')} is gone: its lease ended before its turn")


def _prefix(name: Text) -> bytes:
    return encoded(name) + b"/"
