"""Multi-Paxos's words. Ballot ``3.2`` is round 3 of proposer 2; ``1=x@3.2`` is value x, accepted in slot 1 in it."""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Era
from ratified.consensus.paxos.messages import (
    Accept,
    Accepted,
    AskLease,
    Decided,
    Heartbeat,
    HeartbeatAnswer,
    Learn,
    Learned,
    LeaseGranted,
    LeaseReleased,
    Message,
    Nack,
    Prepare,
    Probe,
    ProbeAnswer,
    Promise,
    Resign,
    TimeoutNow,
)
from ratified.consensus.paxos.state import AcceptorState
from tests.consensus.stories.words.shape import Words, bracketed, decoded, value


def ballot(era: Era) -> str:
    """A ballot as round.proposer."""
    return f"{era[0]}.{era[1]}"


def message(message: Message) -> str:
    """A message's name, its ballot, and what matters of the rest."""
    match message:
        case Prepare():
            return f"Prepare {ballot(message.ballot)}, slots from {message.first}"
        case Promise():
            more = "" if message.complete else f" and more behind {message.last}"
            accepted = f"accepted {_entries(message.entries)}" if message.entries else "nothing accepted"
            return (
                f"Promise {ballot(message.ballot)}, chosen to {message.chosen}, "
                f"from {message.first} on {accepted}{more}"
            )
        case Accept():
            values = bracketed(value(entry) for entry in decoded(message.entries))
            return f"Accept {ballot(message.ballot)} {values}, chosen to {message.chosen}"
        case Accepted():
            return f"Accepted {ballot(message.ballot)} {_slots(message.first, message.last)}"
        case Nack():
            return f"Nack, promised {ballot(message.ballot)}"
        case Decided():
            return f"Decided {ballot(message.ballot)}, chosen to {message.chosen}"
        case Heartbeat():
            return f"Heartbeat {ballot(message.ballot)}, chosen to {message.chosen}{_round(message.round)}"
        case HeartbeatAnswer():
            return f"HeartbeatAnswer {ballot(message.ballot)}{_round(message.round)}"
        case Learn():
            return f"Learn from {message.first} on"
        case Learned():
            return f"Learned {_entries(message.entries)}, chosen to {message.chosen}"
        case Probe():
            return f"Probe of one that promised {ballot(message.ballot)}"
        case ProbeAnswer():
            return f"Probe answered: {message.verdict.name.lower()}, promised {ballot(message.ballot)}"
        case AskLease():
            return f"AskLease {ballot(message.ballot)} of {message.lease_us} microseconds in round {message.round}"
        case LeaseGranted():
            return f"LeaseGranted {ballot(message.ballot)} in round {message.round}"
        case LeaseReleased():
            return f"LeaseReleased {ballot(message.ballot)} up to round {message.round}"
        case TimeoutNow():
            return f"TimeoutNow, whoever leads in ballot {ballot(message.ballot)} wants it to lead"
        case Resign():
            return f"Resign, no longer leads in ballot {ballot(message.ballot)}"


def _entries(encoded: Sequence[bytes]) -> str:
    return bracketed(f"{value(entry)}@{ballot(entry.era)}" for entry in decoded(encoded))


def _slots(first: int, last: int) -> str:
    return f"slot {first}" if first == last else f"slots {first} to {last}"


def _round(round_: int) -> str:
    return f", read round {round_}" if round_ else ""


def state(state: AcceptorState) -> str:
    """An acceptor's promise, a proposer's latest ballot, a learner's prefix."""
    own = f", own ballot {ballot(state.own)}" if any(state.own) else ""
    return f"promised {ballot(state.promised)}{own}, chosen to {state.chosen}"


WORDS = Words("ballot", ballot, message, state, "chosen to")
