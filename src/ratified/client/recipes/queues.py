"""Queues and barriers."""

from __future__ import annotations

import uuid

from ratified.client import calls
from ratified.client.calls import Do, Text, compare_mod, compare_version, encoded
from ratified.client.errors import Compacted
from ratified.client.recipes.steps import Plan, ask, change_of
from ratified.client.results import KeyValue


def put(name: Text, value: Text) -> Plan[bytes]:
    """Add an item; its key."""
    key = encoded(name) + b"/" + uuid.uuid4().hex.encode()
    yield from ask(calls.put(calls.put_request(key, value)))
    return key


def get(name: Text) -> Plan[bytes]:
    """Take the oldest item; waits for one."""
    prefix = encoded(name) + b"/"
    while True:
        oldest, revision = yield from _oldest(prefix)
        if oldest is None:
            try:
                yield from change_of(prefix, revision + 1, "put", prefix=True)
            except Compacted:
                continue
        elif (yield from _taken(oldest)):
            return oldest.value


def get_nowait(name: Text) -> Plan[bytes | None]:
    """Take the oldest item; None: there is none."""
    while True:
        oldest, _ = yield from _oldest(encoded(name) + b"/")
        if oldest is None:
            return None
        if (yield from _taken(oldest)):
            return oldest.value


def _oldest(prefix: bytes) -> Plan[tuple[KeyValue | None, int]]:
    found = yield from ask(calls.ranged(calls.range_request(prefix, prefix=True, sort_by="create", limit=1)))
    return (found.pairs[0] if found.pairs else None), found.revision


def _taken(item: KeyValue) -> Plan[bool]:
    done = yield from ask(calls.txn([compare_mod(item.key, "==", item.mod_revision)], [Do.delete(item.key)], []))
    return done.succeeded


def hold(name: Text, lease: int) -> Plan[bool]:
    """Close a barrier; False: it is closed already."""
    done = yield from ask(calls.txn([compare_version(name, "==", 0)], [Do.put(name, "", lease=lease)], []))
    return done.succeeded


def release(name: Text) -> Plan[bool]:
    """Open a barrier; False: it is open already."""
    gone = yield from ask(calls.delete(calls.delete_request(name)))
    return gone.deleted > 0


def wait(name: Text) -> Plan[None]:
    """Return when the barrier is open."""
    while True:
        found = yield from ask(calls.ranged(calls.range_request(name, keys_only=True)))
        if not found.pairs:
            return
        try:
            yield from change_of(encoded(name), found.revision + 1, "delete")
        except Compacted:
            continue
        return
