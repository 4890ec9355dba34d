"""Software transactional memory, without a transport: serializable snapshot isolation.

All reads of an attempt are of one revision, that of its first read. It commits where no key that it has read has been
written since that revision, and none that it writes either; else it is run again, and the keys that it had read are
read together in the transaction that did not commit. An attempt that writes nothing has nothing to commit: what it
read was the newest state at its first read.
"""

from __future__ import annotations

from ratified.client import calls
from ratified.client.calls import Do, Text, compare_mod, encoded
from ratified.client.recipes.steps import Plan, ask
from ratified.client.results import KeyValue, Range

ATTEMPTS_DEFAULT = 100


class Attempt:
    """What one run of a transaction has read, and is to write."""

    def __init__(self, revision: int = 0, read: dict[bytes, KeyValue | None] | None = None) -> None:
        self._revision = revision
        """That its reads are of; 0: it has read nothing yet."""
        self._known = read or {}
        """What an earlier attempt had to read, at ``revision``; only what is used is a reason for a conflict."""
        self._read: dict[bytes, KeyValue | None] = {}
        self._writes: dict[bytes, Do] = {}
        self._values: dict[bytes, bytes | None] = {}
        """What the keys written will have; None: nothing."""

    def get(self, key: Text) -> Plan[bytes | None]:
        """The key's value, as the transaction itself has left it; None: it is not there."""
        name = encoded(key)
        if name in self._values:
            return self._values[name]
        if name not in self._read:
            if name not in self._known:
                found = yield from ask(calls.ranged(calls.range_request(name, revision=self._revision)))
                self._revision = self._revision or found.revision
                self._known[name] = found.pairs[0] if found.pairs else None
            self._read[name] = self._known[name]
        pair = self._read[name]
        return None if pair is None else pair.value

    def put(self, key: Text, value: Text, lease: int) -> None:
        self._writes[encoded(key)] = Do.put(key, value, lease=lease)
        self._values[encoded(key)] = encoded(value)

    def delete(self, key: Text) -> None:
        self._writes[encoded(key)] = Do.delete(key)
        self._values[encoded(key)] = None

    def commit(self) -> Plan[Attempt | None]:
        """None: it is done. Else what to run instead."""
        if not self._writes:
            return None
        unchanged = [
            compare_mod(key, "==", 0 if pair is None else pair.mod_revision) for key, pair in self._read.items()
        ]
        if self._read:
            blind = (key for key in self._writes if key not in self._read)
            unchanged += [compare_mod(key, "<", self._revision + 1) for key in blind]
        again = [Do.get(key) for key in self._read]
        done = yield from ask(calls.txn(unchanged, list(self._writes.values()), again))
        if done.succeeded:
            return None
        found = {}
        for key, answer in zip(self._read, done.results, strict=True):
            assert isinstance(answer, Range)
            found[key] = answer.pairs[0] if answer.pairs else None
        return Attempt(done.revision, found)
