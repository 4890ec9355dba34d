"""Phase 1 of a ballot, over all open slots at once (*Paxos Made Simple*, sections 2.2 and 3).

Rules of this file:

1. A ballot is durable before anybody hears of it: a proposer that forgot one could use it for two values.
2. The own promise counts when it is durable; a promise counts when all of its parts have come, once a member.
3. Of the values reported for a slot the one of the highest ballot is to be proposed (P2c). Reports of members that
   have not told everything yet take part: they too promised.
4. A member that reports only what is behind a chosen prefix closes that prefix. Where this one knows less to be chosen,
   that promise counts when the values are learned: open slots are those that no member of the quorum has closed.
5. Who decides is whom the latest configuration known here names. Where one is learned to be chosen meanwhile, or
   becomes so while this member leads in the ballot already, those that it adds are asked too, and what others reported
   stays considered.
6. What was not answered is asked again in the same ballot, a heartbeat later and on a new session. Nothing but a higher
   ballot keeps a candidate from winning once a quorum answers, so another one of its own would win nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratified.consensus.contract import Entry
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.messages import Prepare, Promise


class Candidate:
    """This member from its Prepare until it leads or gives up, in one ballot; and what it asks for later, as a leader
    whose configuration changes."""

    __slots__ = (
        "_ask_again",
        "_asked",
        "_core",
        "_highest",
        "_own_ticket",
        "_promised",
        "ballot",
        "first",
        "is_late",
    )

    leader: int | None = None

    def __init__(self, core: Core) -> None:
        """Begin a ballot, promise it oneself, and send Prepare."""
        core.begin_ballot()
        self._core = core
        self.ballot = core.own
        self.first = core.closed + 1
        """The slot from which on everybody is asked."""
        self._own_ticket = core.next_ticket
        self._promised: dict[int, int] = {}
        """By member that has told everything, the slot up to which it calls all chosen and has reported nothing."""
        self._asked: dict[int, int] = {}
        """By member that has not told everything, the slot from which on it is to tell; the own one joins late."""
        self._highest: dict[int, Entry] = {}
        """By open slot, the accepted value with the highest ballot that was reported."""
        self._ask_again: int | None = None
        self.is_late = False
        """Has a whole election timeout brought nothing?"""
        for peer in core.configurations.peers:
            self.ask(peer, self.first)
        self._arm()

    def ask(self, acceptor: int, first: int) -> None:
        """Send Prepare, when the ballot is durable."""
        self._asked[acceptor] = first
        self._core.outbox.send_after(acceptor, Prepare(self.ballot, first))

    def ask_those_who_joined(self) -> None:
        """The configuration may be another one by now, which came with a chosen slot."""
        configurations = self._core.configurations
        for peer in configurations.peers:
            if peer not in self._asked and peer not in self._promised:
                self.ask(peer, configurations.since + 1)

    @property
    def waits_for_disk(self) -> bool:
        """Is the own ballot not durable yet, and with it no Prepare sent?"""
        return self._core.durable_promise < self.ballot

    def own_promise_is_durable(self, ticket: int) -> bool:
        """Has the disk got as far as the promise of this ballot?"""
        return ticket >= self._own_ticket

    def is_own_report_due(self, ticket: int) -> bool:
        """Is it time to take the own acceptor's promise, for the first time?"""
        member = self._core.member.id
        if member in self._asked or member in self._promised or not self.own_promise_is_durable(ticket):
            return False
        self._asked[member] = self.first
        return True

    # -------------------------------------------------------------------------------------------------- promises

    def on_promise(self, acceptor: int, message: Promise, entries: Sequence[Entry]) -> int | None:
        """A part of a promise; the slot from which on ``acceptor`` is to tell more, if it has more."""
        core = self._core
        if self._asked.get(acceptor) != message.first:
            return None  # it came before
        for entry in entries:
            if not message.first <= entry.index <= message.last or entry.era > self.ballot:
                core.outbox.ignore("Promise with a slot or a ballot that it cannot have")
                return None
        for entry in entries:
            if entry.era == self.ballot:
                continue  # this proposer's own, of whom it was asked late
            known = self._highest.get(entry.index)
            if known is None or self.prefers(entry, known):
                self._highest[entry.index] = entry
            if core.slots.ballot_at(entry.index) != entry.era:
                core.member.receive()
        if message.complete:
            del self._asked[acceptor]
            self._promised[acceptor] = message.chosen
            return None
        self._asked[acceptor] = message.last + 1
        return message.last + 1

    def prefers(self, reported: Entry, known: Entry) -> bool:
        """P2c: the value of the highest-numbered proposal."""
        return reported.era > known.era

    @property
    def has_won(self) -> bool:
        """Has a quorum promised and told everything, and is all that it knows to be chosen known here?"""
        return self._core.configurations.is_quorum(self._counted)

    @property
    def _counted(self) -> dict[int, int]:
        """Those promises that close nothing which is not known here."""
        chosen = self._core.slots.chosen
        return {member: closed for member, closed in self._promised.items() if closed <= chosen}

    @property
    def first_open(self) -> int:
        return max([self._core.closed, *self._counted.values()]) + 1

    @property
    def to_propose(self) -> Mapping[int, Entry]:
        """By open slot, the value that has to be proposed."""
        first = self.first_open
        return {slot: entry for slot, entry in self._highest.items() if slot >= first}

    # ------------------------------------------------------------------------------------------------- asking again

    @property
    def deadline(self) -> int | None:
        """When to ask again for what did not come; None: never (the extension ``resend``)."""
        return self._ask_again

    def _arm(self) -> None:
        core = self._core
        self._ask_again = core.member.now + core.options.heartbeat_us if core.extensions.resend else None

    def ask_again(self) -> None:
        """A heartbeat has passed. What waits for the own disk, or is on its way to a peer, needs no repetition."""
        core = self._core
        if not self.waits_for_disk:
            for acceptor, first in self._asked.items():
                if acceptor != core.member.id and core.options.links.is_clear(acceptor):
                    self.ask(acceptor, first)
        self._arm()

    def on_session(self, acceptor: int) -> None:
        """A new session: what was asked on the last one may be lost."""
        if acceptor in self._asked and self._core.extensions.resend:
            self.ask(acceptor, self._asked[acceptor])

    @property
    def own_first(self) -> int | None:
        """From which slot on the own acceptor has yet to report; None: it has told everything, or is not asked yet."""
        return self._asked.get(self._core.member.id)
