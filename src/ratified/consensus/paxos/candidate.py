"""Phase 1 of a ballot, over all open slots at once (*Paxos Made Simple*, sections 2.2 and 3).

Rules of this file:

1. A ballot is durable before anybody hears of it: a proposer that forgot one could use it for two values.
2. The own promise counts when it is durable; a promise counts when all of its parts have come, once a member.
3. Of the values reported for a slot the one of the highest ballot is to be proposed (P2c). Reports of members that
   have not told everything yet take part: they too promised.
4. A member that reports only what is behind a chosen prefix closes that prefix. Where this one knows less to be chosen,
   it learns those values first: open slots are those that no member of the quorum has closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ratified.consensus.contract import Entry
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.messages import Prepare, Promise


class Candidate:
    """This member from its Prepare until it leads or gives up, in one ballot."""

    __slots__ = (
        "_ask_again",
        "_asked",
        "_core",
        "_highest",
        "_own_ticket",
        "_promised",
        "_settled",
        "ballot",
        "first",
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
        self._promised: dict[int, None] = {}
        self._asked: dict[int, int] = {}
        """By member that has not told everything, the slot from which on it is to tell; the own one joins late."""
        self._highest: dict[int, Entry] = {}
        """By open slot, the accepted value with the highest ballot that was reported."""
        self._settled = core.closed
        """Everything up to here is chosen, says one of those who promised, and is not reported."""
        self._ask_again: int | None = None
        for peer in core.configurations.peers:
            self.ask(peer, self.first)

    def ask(self, acceptor: int, first: int) -> None:
        """Send Prepare, when the ballot is durable."""
        self._asked[acceptor] = first
        self._core.outbox.send_after(acceptor, Prepare(self.ballot, first))

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
            if not message.first <= entry.index <= message.last or entry.era >= self.ballot:
                core.outbox.ignore("Promise with a slot or a ballot that it cannot have")
                return None
        for entry in entries:
            known = self._highest.get(entry.index)
            if known is None or self.prefers(entry, known):
                self._highest[entry.index] = entry
        self._settled = max(self._settled, message.chosen)
        if message.complete:
            del self._asked[acceptor]
            self._promised[acceptor] = None
            return None
        self._asked[acceptor] = message.last + 1
        return message.last + 1

    def prefers(self, reported: Entry, known: Entry) -> bool:
        """P2c: the value of the highest-numbered proposal."""
        return reported.era > known.era

    @property
    def has_won(self) -> bool:
        """Has a quorum promised and told everything, and is all that it knows to be chosen known here?"""
        return self._core.configurations.is_quorum(self._promised) and self._core.slots.chosen >= self._settled

    @property
    def first_open(self) -> int:
        return max(self._settled, self._core.closed) + 1

    @property
    def to_propose(self) -> Mapping[int, Entry]:
        """By open slot, the value that has to be proposed."""
        first = self.first_open
        return {slot: entry for slot, entry in self._highest.items() if slot >= first}

    # ---------------------------------------------------------------------------------------------------- timer

    @property
    def lacks_values(self) -> bool:
        """Is there something to learn before this candidate can win?"""
        return self._core.slots.chosen < self._settled

    @property
    def deadline(self) -> int | None:
        """When to ask again for parts that did not come; None: none were asked for."""
        return self._ask_again

    def arm(self) -> None:
        """Parts or values are under way: ask again a heartbeat later if they do not come.

        A Prepare that nobody answered is not repeated: then the next ballot comes.
        """
        waiting = self.lacks_values or any(first > self.first for first in self._asked.values())
        self._ask_again = self._core.member.now + self._core.options.heartbeat_us if waiting else None

    def ask_again(self) -> None:
        core = self._core
        for acceptor, first in self._asked.items():
            if acceptor != core.member.id:
                self.ask(acceptor, first)
        self.arm()
