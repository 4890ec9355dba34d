"""Raft's words: figure 2's. ``3@2`` is index 3, of term 2."""

from __future__ import annotations

from ratified.consensus.contract import Era
from ratified.consensus.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    AskLease,
    CommitAdvanced,
    Heartbeat,
    HeartbeatResponse,
    LeaseGranted,
    LeaseReleased,
    Message,
    Probe,
    ProbeAnswer,
    Pull,
    PullAnswer,
    RequestVote,
    RequestVoteResponse,
    Resign,
    TimeoutNow,
)
from ratified.consensus.raft.state import HardState
from tests.consensus.stories.words.shape import Words, bracketed, decoded, value


def term(era: Era) -> str:
    """A term's number."""
    return str(era[0])


def message(message: Message) -> str:
    """A message's name, its sender's term, and what matters of the rest."""
    return f"{type(message).__name__} term {message.term}{_rest(message)}"


def _rest(message: Message) -> str:
    match message:
        case RequestVote():
            return f", log ends at {message.last_index}@{message.last_term}"
        case RequestVoteResponse():
            return ", granted" if message.granted else ", not granted"
        case AppendEntries():
            entries = bracketed(_entry(message.term, entry.era, value(entry)) for entry in decoded(message.entries))
            return f", behind {message.prev_index}@{message.prev_term} {entries}, commit {message.commit}"
        case AppendEntriesResponse(success=True):
            return f", success, match {message.index}"
        case AppendEntriesResponse():
            hint = f"; may meet at {message.hint_index}@{message.hint_term}" if message.hint_term else ""
            return f", nothing fits behind {message.index}{hint}"
        case Heartbeat():
            return f", commit {message.commit}{_round(message.round)}"
        case HeartbeatResponse():
            return _round(message.round)
        case CommitAdvanced():
            return f", commit {message.commit}"
        case Probe():
            return f", would you vote for a log that ends at {message.last_index}@{message.last_term}"
        case ProbeAnswer():
            return f", {message.verdict.name.lower()}, log ends at {message.last_index}@{message.last_term}"
        case Pull():
            return f", what follows {message.prev_index}@{message.prev_term}"
        case PullAnswer(fits=True):
            entries = bracketed(_entry(message.term, entry.era, value(entry)) for entry in decoded(message.entries))
            return f", behind {message.prev_index}@{message.prev_term} {entries}"
        case PullAnswer():
            return f", may meet at {message.hint_index}@{message.hint_term}"
        case Resign():
            return ""
        case AskLease():
            return f"AskLease of {message.lease_us} microseconds in round {message.round}"
        case LeaseGranted():
            return f"LeaseGranted in round {message.round}"
        case LeaseReleased():
            return f"LeaseReleased up to round {message.round}"
        case TimeoutNow():
            return ""


def _entry(leaders_term: int, era: Era, value: str) -> str:
    """The term is said where it is not the leader's own."""
    return value if era[0] == leaders_term else f"{value}@{term(era)}"


def _round(round_: int) -> str:
    return f", read round {round_}" if round_ else ""


def state(state: HardState) -> str:
    """Figure 2's persistent state beside the log."""
    vote = "no vote" if state.voted_for is None else f"vote for {state.voted_for}"
    return f"term {state.term}, {vote}"


WORDS = Words("term", term, message, state, "commit")
