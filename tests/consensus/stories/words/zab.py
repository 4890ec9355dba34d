"""ZAB's words: the paper's. Zxid ``2/1`` is counter 1 of epoch 2; ``4=x@2`` is value x at index 4, of epoch 2.

The numbers that ``link.py`` gives to messages are left out: nothing in a story depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Era
from ratified.consensus.zab import zxid
from ratified.consensus.zab.messages import (
    Ack,
    AckEpoch,
    AckHistory,
    AckNewLeader,
    AskLease,
    Candidacy,
    CEpoch,
    Commit,
    Ending,
    Fitness,
    History,
    LeaseGranted,
    LeaseReleased,
    LinkBroken,
    Message,
    Mode,
    NewEpoch,
    NewLeader,
    Ping,
    Pong,
    Probe,
    ProbeAnswer,
    Propose,
    Pull,
    PullAnswer,
    Resign,
    Standing,
    TimeoutNow,
    UpToDate,
    Vote,
)
from ratified.consensus.zab.state import EpochState
from tests.consensus.stories.words.shape import Words, bracketed, decoded, value


def epoch(era: Era) -> str:
    """An epoch's number."""
    return str(era[0])


def message(message: Message) -> str:
    """A message's name in the paper, and what matters of it."""
    match message:
        case Vote(standing=Standing.LOOKING):
            return f"vote in round {message.round} for {_candidate(message.candidacy)}"
        case Vote():
            return f"vote: {message.standing.name.lower()} {message.candidacy.member} in epoch {message.epoch}"
        case CEpoch():
            return f"CEPOCH, accepted epoch {message.accepted_epoch}"
        case NewEpoch():
            return f"NEWEPOCH {message.epoch}"
        case AckEpoch():
            return f"ACKEPOCH {message.epoch}, {_ending(message.ending)}, last epoch behind {message.last_origin}"
        case NewLeader(mode=Mode.TRUNC):
            return f"NEWLEADER {message.epoch}, TRUNC to {_meet(message)}, history to {message.origin}"
        case NewLeader():
            return f"NEWLEADER {message.epoch}, DIFF from {_meet(message)}, history to {message.origin}"
        case History():
            return f"history {_entries(message.entries)}"
        case AckHistory():
            return f"ACK of the history to {message.index}"
        case AckNewLeader():
            return f"ACK of NEWLEADER {message.epoch}"
        case UpToDate():
            return f"UPTODATE {_zxid(message.zxid)}"
        case Propose():
            values = bracketed(value(entry) for entry in decoded(message.entries))
            return f"PROPOSE {_zxid(message.zxid)} {values}"
        case Ack():
            return f"ACK {_zxid(message.zxid)}"
        case Commit():
            return f"COMMIT {_zxid(message.zxid)}"
        case Ping():
            return f"PING{_round(message.round)}"
        case Pong():
            return f"PONG in epoch {message.epoch}{_round(message.round)}"
        case Resign():
            return f"RESIGN in epoch {message.epoch}"
        case AskLease():
            return f"AskLease of epoch {message.epoch}, {message.lease_us} microseconds in round {message.round}"
        case LeaseGranted():
            return f"LeaseGranted of epoch {message.epoch} in round {message.round}"
        case LeaseReleased():
            return f"LeaseReleased of epoch {message.epoch} up to round {message.round}"
        case TimeoutNow():
            return f"TIMEOUTNOW in epoch {message.epoch}"
        case LinkBroken():
            return "LINKBROKEN"
        case Probe():
            return f"probe: {_ending(message.ending)}"
        case ProbeAnswer():
            return f"probe {message.verdict.name.lower()}: {_ending(message.ending)}"
        case Pull():
            return f"what follows {message.prev_index}@{message.prev_epoch}?"
        case PullAnswer(fits=True):
            known = f"current epoch {message.current_epoch}, initial history to {message.origin}"
            return f"behind {message.prev_index}@{message.prev_epoch} {_entries(message.entries)}, {known}"
        case PullAnswer():
            return f"may meet at {message.hint_index}@{message.hint_epoch}"


def _candidate(candidacy: Candidacy) -> str:
    fitness = "" if candidacy.fitness is Fitness.READY else f"{candidacy.fitness.name.lower()}, "
    return f"{candidacy.member} ({fitness}{_ending(candidacy.ending)})"


def _ending(ending: Ending) -> str:
    return f"current epoch {ending.current_epoch}, ends at {ending.last_index}@{ending.last_epoch}"


def _meet(message: NewLeader) -> str:
    return f"{message.meet_index}@{message.meet_epoch}"


def _zxid(packed: int) -> str:
    return "{}/{}".format(*zxid.unpack(packed))


def _entries(encoded: Sequence[bytes]) -> str:
    return bracketed(f"{value(entry)}@{epoch(entry.era)}" for entry in decoded(encoded))


def _round(round_: int) -> str:
    return f", read round {round_}" if round_ else ""


def state(state: EpochState) -> str:
    """Accepted and current epoch: the paper's f.p and f.a."""
    return f"accepted epoch {state.accepted_epoch}, current epoch {state.current_epoch}"


WORDS = Words("epoch", epoch, message, state, "commit")
