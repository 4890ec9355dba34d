"""What this engine does beyond figure 2, beside what more than one engine does (``contract.Extensions``)."""

from __future__ import annotations

import msgspec


class RaftExtensions(msgspec.Struct, frozen=True, kw_only=True):
    """All off is the textbook."""

    pipelining: bool = True
    """``nextIndex`` moves when entries are sent, not when they are answered."""
    conflict_hints: bool = True
    """A refusal says where the logs may meet, so that a lagging log is found in few round trips."""


PRODUCTION = RaftExtensions()
TEXTBOOK = RaftExtensions(pipelining=False, conflict_hints=False)
