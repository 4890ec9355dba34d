"""What this engine does beyond *Paxos Made Simple*, beside what more than one engine does (``contract.Extensions``)."""

from __future__ import annotations

import msgspec


class PaxosExtensions(msgspec.Struct, frozen=True, kw_only=True):
    """All off is the textbook."""

    skip_chosen: bool = True
    """Phase 1 leaves out what is known to be chosen; else a new leader proposes every slot again."""
    outbid_hearsay: bool = True
    """A new ballot is above all that was heard of, by a refusal too, not only above what was promised."""
    resend: bool = True
    """A proposer sends again what was not answered."""
    decided_after_accepted: bool = True
    """A peer is told that a value is chosen when it has accepted it; else all are when a quorum has."""


PRODUCTION = PaxosExtensions()
TEXTBOOK = PaxosExtensions(skip_chosen=False, outbid_hearsay=False, resend=False, decided_after_accepted=False)
