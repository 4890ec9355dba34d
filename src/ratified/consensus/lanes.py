"""Which messages of one session may overtake others.

A session has two lanes, and each keeps its order. What carries entries is long and goes in one; what is short (votes,
heartbeats, answers) goes in the other and is never held up by it: a member that sends much to a peer over a slow link
is heard all the same. A short message that must not overtake entries says so by ``IN_ORDER``.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def keeps_order(message: object) -> bool:
    """Does this message go in the lane of the entries?"""
    kind: Any = type(message)
    return _keeps_order(kind)


@cache
def _keeps_order(kind: Any) -> bool:
    return "entries" in kind.__struct_fields__ or getattr(kind, "IN_ORDER", False)
