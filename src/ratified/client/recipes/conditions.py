"""Writes that happen only on a condition, and reads of a long range in pages."""

from __future__ import annotations

from collections.abc import Sequence

from ratified.client import calls
from ratified.client.calls import Compare, Do, Text, compare_mod, compare_value, compare_version, encoded
from ratified.client.recipes.steps import Plan, ask
from ratified.client.results import Range, Swap

PAGE_KEYS_DEFAULT = 1000


def put_if_absent(key: Text, value: Text, lease: int) -> Plan[Swap]:
    return _swap(key, [compare_version(key, "==", 0)], Do.put(key, value, lease=lease))


def compare_and_swap(key: Text, value: Text, expected: Text | None, revision: int | None, lease: int) -> Plan[Swap]:
    return _swap(key, _expects(key, expected, revision), Do.put(key, value, lease=lease))


def compare_and_delete(key: Text, expected: Text | None, revision: int | None) -> Plan[Swap]:
    return _swap(key, [compare_version(key, "!=", 0), *_expects(key, expected, revision)], Do.delete(key))


def _expects(key: Text, expected: Text | None, revision: int | None) -> Sequence[Compare]:
    if (expected is None) == (revision is None):
        raise ValueError("give what is expected of the key: either its value or its mod revision")
    if expected is not None:
        return [compare_value(key, "==", expected)]
    return [compare_mod(key, "==", revision or 0)]


def _swap(key: Text, conditions: Sequence[Compare], write: Do) -> Plan[Swap]:
    done = yield from ask(calls.txn(conditions, [write], [Do.get(key)]))
    if done.succeeded:
        return Swap(True, done.revision)
    (found,) = done.results
    assert isinstance(found, Range)
    return Swap(False, done.revision, found.pairs[0] if found.pairs else None)


class Pages:
    """A range read page by page, all at the revision of the first. ``next_page`` is the plan of the next one."""

    def __init__(
        self, key: Text, *, prefix: bool, end: Text | None, revision: int, page_keys: int, keys_only: bool
    ) -> None:
        if page_keys < 1:
            raise ValueError(f"page_keys is {page_keys}; a page has at least one key")
        first = encoded(key)
        self._next = first or b"\0"
        self._end = calls.range_end(first, prefix=prefix, end=end)
        self._revision = revision
        self._page_keys = page_keys
        self._keys_only = keys_only
        self.more = True
        """Is there, as far as is known, another page?"""

    def next_page(self) -> Plan[Range]:
        request = calls.range_request(
            self._next,
            end=self._end or None,
            limit=self._page_keys,
            revision=self._revision,
            keys_only=self._keys_only,
        )
        page = yield from ask(calls.ranged(request))
        self._revision = self._revision or page.revision
        self.more = page.more and bool(page.pairs)
        if page.pairs:
            self._next = page.pairs[-1].key + b"\0"
        return page
