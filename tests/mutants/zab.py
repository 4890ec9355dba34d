"""One rule of ZAB broken each: in whole-node worlds (``MUTANTS``), and between bare engines by the engine's own
tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from ratified.consensus.contract import Entry
from ratified.consensus.replication import pull
from ratified.consensus.replication.engine import Engine
from ratified.consensus.replication.outbox import Outbox
from ratified.consensus.replication.pull import Pulling
from ratified.consensus.replication.reads import ReadRounds
from ratified.consensus.replication.suspicion import Suspicion, Verdict
from ratified.consensus.replication.window import Window
from ratified.consensus.zab import progress
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.engine import Zab
from ratified.consensus.zab.follower import Following
from ratified.consensus.zab.leader import Leading
from ratified.consensus.zab.link import Link
from ratified.consensus.zab.messages import Ack, AckEpoch, AckNewLeader, Ending, Mode, NewEpoch, PullAnswer
from ratified.consensus.zab.probing import Probing
from ratified.sim import simulation
from ratified.sim.arguments import Arguments
from ratified.sim.draw import SimulationOptions, draw_options
from tests.consensus.networks import Sessions
from tests.consensus.world import World
from tests.mutants.mutant import Break, EngineMutant, Mutant


@contextmanager
def old_epoch_accepted() -> Iterator[None]:
    """The leader of an old epoch is joined too, in place of a later one."""
    follow = Zab._follow
    with (
        patch.object(Core, "may_accept", lambda _self, _epoch: True),
        patch.object(Zab, "_follow", lambda self, candidacy, _epoch, round_: follow(self, candidacy, 0, round_)),
    ):
        yield


def epoch_accepted_twice() -> AbstractContextManager[Any]:
    return patch.object(Core, "may_accept", lambda self, epoch: epoch >= self.accepted_epoch)


def commit_before_a_quorum_of_acks() -> AbstractContextManager[Any]:
    return patch.object(Leading, "acked_by_quorum", lambda self: self._core.log.last)


def diff_where_trunc_was_due() -> AbstractContextManager[Any]:
    return patch.object(Leading, "sync_mode", lambda _self, _last, _meet: Mode.DIFF)


@contextmanager
def counter_used_twice() -> Iterator[None]:
    def propose_over_the_last(self: Core, entries: Sequence[Entry]) -> None:
        if entries[0].index <= self.log.last:
            self.log.truncate(entries[0].index)
            self.member.writes.clip(entries[0].index - 1)
        append(self, entries)

    append = Core.append
    with (
        patch.object(Core, "append", propose_over_the_last),
        patch.object(Leading, "next_index", lambda self: max(self._core.log.last, self.origin + 1)),
    ):
        yield


def _leaves_at_once(kind: type[Any]) -> AbstractContextManager[Any]:
    waits = Outbox.send_after

    def send_after(outbox: Outbox, to: int, message: Any) -> None:
        (outbox.send if type(message) is kind else lambda *sent: waits(outbox, *sent))(to, message)

    return patch.object(Outbox, "send_after", send_after)


def newleader_acknowledged_before_durable() -> AbstractContextManager[Any]:
    return _leaves_at_once(AckNewLeader)


def proposal_acknowledged_before_durable() -> AbstractContextManager[Any]:
    return _leaves_at_once(Ack)


def epoch_acknowledged_before_durable() -> AbstractContextManager[Any]:
    return _leaves_at_once(AckEpoch)


def epoch_proposed_before_durable() -> AbstractContextManager[Any]:
    return _leaves_at_once(NewEpoch)


def current_epoch_before_the_history() -> AbstractContextManager[Any]:
    return patch.object(Following, "may_adopt_epoch", lambda _self: True)


def history_acknowledged_before_it_is_complete() -> AbstractContextManager[Any]:
    return patch.object(Following, "history_is_complete", lambda _self: True)


def leads_before_a_quorum_is_synchronised() -> AbstractContextManager[Any]:
    return patch.object(Leading, "history_is_synchronised", lambda _self: True)


def fifo_violated_unseen() -> AbstractContextManager[Any]:
    return patch.object(Link, "follows", lambda _self, _lane, _seq: True)


def election_ignores_the_epoch() -> AbstractContextManager[Any]:
    return patch.object(Ending, "rank", lambda self: (0, self.last_epoch, self.last_index))


def committed_without_newleader() -> AbstractContextManager[Any]:
    return patch.object(Leading, "may_commit", lambda _self: True)


def own_acknowledgement_before_durable() -> AbstractContextManager[Any]:
    def durable_at(self: Leading, member: int) -> int:
        return self._core.log.last if member == self._core.member.id else honest(self, member)

    honest = Leading._durable_at
    return patch.object(Leading, "_durable_at", durable_at)


def delivered_before_durable() -> AbstractContextManager[Any]:
    return patch.object(Engine, "deliverable", lambda self: self._algorithm.core.log.commit)


def reads_without_a_round() -> AbstractContextManager[Any]:
    return patch.object(ReadRounds, "is_confirmed", lambda _self: True)


def lost_when_a_later_epoch_begins() -> AbstractContextManager[Any]:
    return patch.object(Zab, "lost", lambda self, era, _index, _delivered: self.core.era > era)


def leads_no_longer_and_says_nothing() -> AbstractContextManager[Any]:
    return patch.object(Leading, "resign", lambda _self: None)


def stands_without_a_quorum_of_grants() -> AbstractContextManager[Any]:
    return patch.object(Suspicion, "has_quorum", lambda _self, *_verdicts: True)


def refuses_nobody_while_a_leader_is_heard() -> AbstractContextManager[Any]:
    return patch.object(Suspicion, "hears", lambda _self, _leader: False)


def takes_a_broken_link_for_a_leader_that_is_gone() -> AbstractContextManager[Any]:
    return patch.object(Following, "link_is_broken", property(lambda _self: False, lambda _self, _broken: None))


def counts_answers_of_an_earlier_series() -> AbstractContextManager[Any]:
    counts = Suspicion.counts

    def counts_all(self: Suspicion[Any], sender: int, answer: Any) -> bool:
        self._series = 0
        return counts(self, sender, answer)

    return patch.object(Suspicion, "counts", counts_all)


def pulls_what_does_not_rank_above() -> AbstractContextManager[Any]:
    return patch.object(Probing, "ranks_above", lambda _self, _result: True)


def pulls_over_what_is_committed() -> AbstractContextManager[Any]:
    return patch.object(Pulling, "keeps_committed", lambda _self, _first: True)


def pulls_the_epoch_before_its_initial_history() -> AbstractContextManager[Any]:
    def may_adopt(self: Probing, message: PullAnswer, _end: int) -> bool:
        return message.current_epoch > self._core.current_epoch

    return patch.object(Probing, "may_adopt_epoch", may_adopt)


def pulls_without_accepting_the_epoch() -> AbstractContextManager[Any]:
    return patch.object(Probing, "accept_epoch", lambda _self, _current, _last: None)


def keeps_an_epoch_whose_beginning_was_cut_off() -> AbstractContextManager[Any]:
    return patch.object(Core, "truncate", lambda self, first: self.journal.truncate(first))


def offers_observers_an_epoch_that_no_quorum_has() -> AbstractContextManager[Any]:
    return patch.object(Leading, "may_offer_epoch", lambda _self, _member: True)


def waits_with_a_spent_epoch() -> AbstractContextManager[Any]:
    return patch.object(Leading, "is_spent", lambda _self: False)


def gives_up_a_synchronisation_after_a_timeout() -> AbstractContextManager[Any]:
    return patch.object(Leading, "_restart_synchronising", Leading._restart_establishing)


def pulls_anew_from_whoever_answers_first() -> AbstractContextManager[Any]:
    def source(self: Suspicion[Any], _present: int | None, rank: Callable[[Any], Any]) -> int | None:
        behind = self.answers(Verdict.BEHIND)
        return max(behind, key=lambda peer: rank(behind[peer]), default=None)

    return patch.object(Suspicion, "source", source)


def answers_a_pull_whatever_is_under_way() -> AbstractContextManager[Any]:
    return patch.object(pull, "link_has_room", lambda _member, _asker: True)


@contextmanager
def one_entry_a_message() -> Iterator[None]:
    def options(arguments: Arguments) -> SimulationOptions:
        drawn = draw_options(arguments)
        limits = drawn.cluster.limits
        engine = replace(limits.engine, entries_per_message_max=1, inflight_messages_max=64)
        return replace(drawn, cluster=replace(drawn.cluster, limits=replace(limits, engine=engine)))

    with patch.object(simulation, "draw_options", options):
        yield


def a_link_begins_with_a_full_window() -> AbstractContextManager[Any]:
    """Where messages overtake one another, the first two end the link, and the next link begins where it did."""
    return patch.object(progress, "Window", lambda limits, messages_first: Window(limits))


def drops_a_follower_in_silence() -> AbstractContextManager[Any]:
    """The follower waits to find out that its link is over, and the leader for a quorum that is gone."""

    def _break(self: Leading, member: int, reason: str) -> None:
        self._core.outbox.ignore(reason)
        self._forget(member)

    return patch.object(Leading, "_break", _break)


def counts_who_has_not_acknowledged_newleader() -> AbstractContextManager[Any]:
    """Who pulled the epoch, or comes back to it, counts by what it holds."""

    def durable_at(self: Leading, member: int) -> int:
        follower = self._followers.get(member)
        return honest(self, member) if follower is None else follower.match

    honest = Leading._durable_at
    return patch.object(Leading, "_durable_at", durable_at)


def _five_in_sessions(engine: str, seed: int) -> World:
    return World(engine, Sessions, seed, 5)


def _mutant(name: str, breaks: Break, scenario: str, caught_by: int, **more: Any) -> Mutant:
    return Mutant(name, breaks, scenario, "session", caught_by, seeds=500, engine="zab", **more)


MUTANTS: list[Mutant | EngineMutant] = [
    EngineMutant(
        "counts who has not acknowledged NEWLEADER",
        counts_who_has_not_acknowledged_newleader,
        "zab",
        20,
        scenario="bare engines",
        network="session",
        world=_five_in_sessions,
    ),
    _mutant("accepts an old epoch", old_epoch_accepted, "leader-failures", 4, nodes=5, duration_us=2_000_000),
    _mutant("commits before a quorum of ACKs", commit_before_a_quorum_of_acks, "everything", 1),
    _mutant("sends DIFF where TRUNC was due", diff_where_trunc_was_due, "everything", 10),
    _mutant("uses a counter twice", counter_used_twice, "everything", 1),
    _mutant("acknowledges NEWLEADER too early", newleader_acknowledged_before_durable, "everything", 1),
    _mutant("writes the current epoch before the history", current_epoch_before_the_history, "everything", 1),
    _mutant("serves before a quorum is synchronised", leads_before_a_quorum_is_synchronised, "everything", 1),
    _mutant("ignores the epoch in elections", election_ignores_the_epoch, "leader-failures", 4, nodes=5),
    _mutant(
        "commits in a new epoch without NEWLEADER",
        committed_without_newleader,
        "leader-failures",
        1,
        nodes=5,
        rests=False,
    ),
    Mutant(
        "begins a link with a full window",
        a_link_begins_with_a_full_window,
        "unreliable-network",
        "datagram",
        194,
        seeds=500,
        world=one_entry_a_message,
        engine="zab",
    ),
    Mutant(
        "drops a follower in silence",
        drops_a_follower_in_silence,
        "everything",
        "datagram",
        213,
        seeds=500,
        engine="zab",
    ),
]
"""Without ``fifo_violated_unseen``: behind the numbers of a link every step also looks where it stands, so that whole
nodes stay safe and live even when sessions lose frames. That nobody looked is seen between bare engines only."""
