"""ZAB with *Pull* (rule 14 of the contract), small enough to visit every state.

What is modelled, and what makes it small:

1. Fast leader election is a hint: any member may look at any time, and one that looks may try to lead with any epoch
   that is later than the one it has accepted.
2. ``announced`` stands for the NEWEPOCHs ever sent, ``accepted`` for the ACKEPOCHs by which an epoch was accepted
   (with the rank of the history at that moment), ``led`` for NEWLEADER, HISTORY and PROPOSE of the one leader that
   established an epoch, ``synchronised`` and ``acked`` for ACKNEWLEADER and ACK.
3. A follower takes a leader's history in single steps: first what conflicts is removed (TRUNC), then entries come one
   by one, then the current epoch is adopted. It may crash, or look again, between any two.
4. Writes as in ``raft_pull``.

What a pull takes is what some other member has now, or what a member of an established epoch had once.

What must hold: one leader establishes an epoch; equal epochs at one index mean equal histories up to it; who
establishes a later epoch has every committed entry, also one that is committed afterwards; a quorum's disks hold what
is committed; no member ever removes a committed entry, known to be or not; a follower's history is its leader's.

``python -m tests.models.zab_pull --states N`` searches on, without and with each condition.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from itertools import permutations
from typing import NamedTuple

from tests.models.explore import Report, Steps, Violation, explore
from tests.models.raft_pull import common, last_term, match, put, show

LOOKING, PULLING, ACCEPTED, SYNCHRONISING, FOLLOWING, DISCOVERING, ESTABLISHED, BROADCASTING = range(8)
LEADING = (DISCOVERING, ESTABLISHED, BROADCASTING)
NOBODY = -1
ANNOUNCE, ACCEPT, SYNCHRONISED, ACK = range(4)
Rank = tuple[int, int, int]
"""(current epoch, last epoch, last index)."""
Claim = tuple[int, int, int, int, bool, Rank]
"""What is said when it is durable: kind, epoch, leader or member, ..."""
NO_RANK: Rank = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """The conditions of a pull. Each can be taken out."""

    pull: bool = True
    ranks_above: bool = True
    """The result must rank above the own history."""
    adopts_current: bool = True
    """The sender's current epoch comes with its history."""
    adopts_accepted: bool = True
    """The accepted epoch is never earlier than the current one."""
    whole: bool = True
    """A current epoch is adopted only with the whole initial history of it."""
    not_leading: bool = True
    """Not while an epoch is established or led."""
    not_in_count: bool = True
    """Not while the own candidacy counts CEPOCH and ACKEPOCH."""
    not_following: bool = True
    """Not behind an ACKEPOCH, while its leader is followed."""
    acknowledges: bool = False
    """What was pulled is acknowledged to the leader of its epoch, whatever was accepted since."""
    in_parts: bool = False
    """The accepted epoch is adopted and what conflicts removed first, then entries come one by one, and the current
    epoch at last, as a follower in synchronisation takes a history."""
    gives_up: bool = True
    """A leader gives up for a better history (rule 2 of ``zab/leader.py``)."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of the model is visited."""

    members: int = 3
    epochs: int = 3
    entries: int = 3
    crashes: int = 1
    writes: int = 0


class Write(NamedTuple):
    """What the disk will have, and what may be said then."""

    accepted: int
    current: int
    history: bytes
    claims: tuple[Claim, ...]


class Member(NamedTuple):
    """One member; ``epoch`` and ``leader`` are of the link or of the own attempt."""

    accepted: int
    current: int
    history: bytes
    role: int
    epoch: int
    leader: int
    disk: tuple[int, int, bytes]
    pending: tuple[Write, ...]


Led = tuple[int, bytes, bytes]
"""Of an epoch: who established it, its initial history, its history now."""
UNLED: Led = (NOBODY, b"", b"")


class State(NamedTuple):
    """All members, and all that was ever said."""

    members: tuple[Member, ...]
    announced: tuple[tuple[int, int], ...]
    """(epoch, leader)."""
    accepted: tuple[tuple[int, int, int, Rank], ...]
    """(epoch, leader, member, rank) of those that accepted it by that answer."""
    led: tuple[Led, ...]
    synchronised: tuple[tuple[int, int], ...]
    """(epoch, member)."""
    acked: tuple[tuple[int, ...], ...]
    committed: bytes
    committed_in: bytes
    crashes: int


def initial(bounds: Bounds) -> State:
    """Member 0 broadcasts in epoch 1, whose first entry is committed everywhere."""
    history = b"\x01"
    disk = (1, 1, history)
    leader = Member(1, 1, history, BROADCASTING, 1, 0, disk, ())
    follower = Member(1, 1, history, FOLLOWING, 1, 0, disk, ())
    none = (0,) * bounds.members
    everybody = range(bounds.members)
    return State(
        members=(leader,) + (follower,) * (bounds.members - 1),
        announced=((1, 0),),
        accepted=(),
        led=(UNLED, (0, b"", history)) + (UNLED,) * (bounds.epochs - 1),
        synchronised=tuple((1, member) for member in everybody),
        acked=(none, (0,) + (1,) * (bounds.members - 1)) + (none,) * (bounds.epochs - 1),
        committed=history,
        committed_in=history,
        crashes=bounds.crashes,
    )


def rank(member: Member) -> Rank:
    """By this the histories of a quorum are compared (paper, section IV)."""
    return member.current, last_term(member.history), len(member.history)


class Model:
    """The steps of the protocol under one rule, within bounds."""

    def __init__(self, rule: Rule, bounds: Bounds) -> None:
        self.rule = rule
        self.bounds = bounds
        self.quorum = bounds.members // 2 + 1
        self._kept: dict[object, object] = {}

    def steps(self, state: State) -> Steps[State]:
        """Whatever may happen next."""
        for number, member in enumerate(state.members):
            yield from self._disk(state, number, member)
            if member.role == LOOKING:
                yield from self._try_to_lead(state, number, member)
            else:
                after = member._replace(role=LOOKING, epoch=0, leader=NOBODY)
                yield f"{number} looks", state._replace(members=put(state.members, number, after))
            if member.role not in LEADING:
                yield from self._accept(state, number, member)
            if member.role in (ACCEPTED, SYNCHRONISING):
                yield from self._synchronise(state, number, member)
            elif member.role == FOLLOWING:
                yield from self._append(state, number, member)
            elif member.role == DISCOVERING:
                yield from self._establish(state, number, member)
            elif member.role == ESTABLISHED:
                yield from self._begin_broadcast(state, number, member)
            elif member.role == BROADCASTING:
                yield from self._propose(state, number, member)
            elif member.role == PULLING:
                yield from self._pull_on(state, number, member)
            if self.rule.pull:
                yield from self._pull(state, number, member)

    # -------------------------------------------------------------------------------------------------------- disk

    def _write(self, state: State, number: int, after: Member, claims: tuple[Claim, ...]) -> State | None:
        latest = after.pending[-1][:3] if after.pending else after.disk
        now: tuple[Claim, ...] = ()
        if self.bounds.writes == 0:
            after = after._replace(disk=(after.accepted, after.current, after.history))
            now = claims
        elif (after.accepted, after.current, after.history) != latest:
            if len(after.pending) == self.bounds.writes:
                return None
            write = Write(after.accepted, after.current, after.history, claims)
            after = after._replace(pending=(*after.pending, write))
        elif after.pending:
            last = after.pending[-1]
            merged = tuple(sorted({*last.claims, *claims}))
            after = after._replace(pending=(*after.pending[:-1], last._replace(claims=merged)))
        else:
            now = claims
        return said(state._replace(members=put(state.members, number, after)), now)

    def _disk(self, state: State, number: int, member: Member) -> Steps[State]:
        if member.pending:
            write = member.pending[0]
            after = member._replace(disk=write[:3], pending=member.pending[1:])
            yield (
                f"{number} has written",
                self._checked(said(state._replace(members=put(state.members, number, after)), write.claims)),
            )
        if state.crashes and member.pending:
            accepted, current, history = member.disk
            after = Member(accepted, current, history, LOOKING, 0, NOBODY, member.disk, ())
            members = put(state.members, number, after)
            yield f"{number} crashes", self._checked(state._replace(members=members, crashes=state.crashes - 1))

    # ---------------------------------------------------------------------------------------------------- discovery

    def _try_to_lead(self, state: State, number: int, member: Member) -> Steps[State]:
        highest = min(self.bounds.epochs, 1 + max(other.accepted for other in state.members))
        for epoch in range(member.accepted + 1, highest + 1):
            after = member._replace(accepted=epoch, role=DISCOVERING, epoch=epoch, leader=number)
            claims: tuple[Claim, ...] = (
                (ANNOUNCE, epoch, number, 0, False, NO_RANK),
                (ACCEPT, epoch, number, number, True, rank(member)),
            )
            label = f"{number} tries to lead epoch {epoch} with {name(member)}"
            yield from self._stepped(label, self._write(state, number, after, claims))

    def _accept(self, state: State, number: int, member: Member) -> Steps[State]:
        for epoch, leader in state.announced:
            if leader == number or epoch < member.accepted:
                continue
            by_this = epoch > member.accepted
            if not by_this and state.led[epoch][0] != leader:
                continue
            after = member._replace(accepted=epoch, role=ACCEPTED, epoch=epoch, leader=leader)
            if after == member:
                continue
            claims: tuple[Claim, ...] = ((ACCEPT, epoch, leader, number, True, rank(member)),) if by_this else ()
            label = f"{number} follows {leader} into epoch {epoch} with {name(member)}"
            yield from self._stepped(label, self._write(state, number, after, claims))

    def _establish(self, state: State, number: int, member: Member) -> Steps[State]:
        epoch = member.epoch
        counted = [
            each
            for each in state.accepted
            if each[0] == epoch and each[1] == number and (each[3] <= rank(member) or not self.rule.gives_up)
        ]
        if len(counted) < self.quorum:
            return
        label = f"{number} establishes epoch {epoch} with {name(member)}"
        if state.led[epoch] != UNLED:
            yield label, Violation("two leaders of one epoch")
            return
        for index, entry in enumerate(state.committed):
            if state.committed_in[index] < epoch and member.history[index : index + 1] != bytes((entry,)):
                yield label, Violation("a later leader lacks a committed entry")
                return
        led = put(state.led, epoch, (number, member.history, member.history))
        after = member._replace(current=epoch, role=ESTABLISHED)
        claims: tuple[Claim, ...] = ((SYNCHRONISED, epoch, number, len(member.history), False, NO_RANK),)
        yield from self._stepped(label, self._write(state._replace(led=led), number, after, claims))

    # ----------------------------------------------------------------------------------------------- synchronisation

    def _synchronise(self, state: State, number: int, member: Member) -> Steps[State]:
        epoch = member.epoch
        leader, origin, history = state.led[epoch]
        if leader != member.leader:
            return
        if member.role == ACCEPTED:
            kept = common(member.history, history)
            label = f"{number} keeps {show(member.history[:kept])} of {show(member.history)} for epoch {epoch}"
            after = member._replace(history=member.history[:kept], role=SYNCHRONISING)
        else:
            after = member._replace(history=origin[: len(member.history) + 1])
            label = f"{number} takes initial history: {show(after.history)}"
        claims: tuple[Claim, ...] = ()
        if len(after.history) >= len(origin):
            after = after._replace(current=epoch, role=FOLLOWING)
            claims = ((SYNCHRONISED, epoch, number, len(after.history), False, NO_RANK),)
            label += f" and acknowledges NEWLEADER of {epoch}"
        if removes_committed(state, member.history, after.history):
            yield label, Violation("a committed entry is removed")
        else:
            yield from self._stepped(label, self._write(state, number, after, claims))

    def _begin_broadcast(self, state: State, number: int, member: Member) -> Steps[State]:
        epoch = member.epoch
        if sum(1 for each in state.synchronised if each[0] == epoch) < self.quorum:
            return
        origin = state.led[epoch][1]
        after = member._replace(role=BROADCASTING)
        label = f"{number} broadcasts in epoch {epoch}: {show(origin)} is committed"
        began = self._committed(state._replace(members=put(state.members, number, after)), origin, epoch)
        yield label, began if isinstance(began, Violation) else self._checked(began)

    # ---------------------------------------------------------------------------------------------------- broadcast

    def _propose(self, state: State, number: int, member: Member) -> Steps[State]:
        if len(member.history) == self.bounds.entries:
            return
        history = member.history + bytes((member.epoch,))
        leader, origin, _ = state.led[member.epoch]
        led = put(state.led, member.epoch, (leader, origin, history))
        after = member._replace(history=history)
        yield from self._stepped(
            f"{number} proposes: {show(history)}", self._write(state._replace(led=led), number, after, ())
        )

    def _append(self, state: State, number: int, member: Member) -> Steps[State]:
        _, _, history = state.led[member.epoch]
        if len(member.history) >= len(history):
            return
        after = member._replace(history=history[: len(member.history) + 1])
        claim: Claim = (ACK, member.epoch, number, len(after.history), False, NO_RANK)
        yield from self._stepped(
            f"{number} appends: {show(after.history)}", self._write(state, number, after, (claim,))
        )

    def _count(self, state: State) -> State | Violation:
        """Every leader counts at once."""
        for number, member in enumerate(state.members):
            if member.role != BROADCASTING:
                continue
            acked = list(state.acked[member.epoch])
            acked[number] = common(member.disk[2], member.history)
            index = sorted(acked, reverse=True)[self.quorum - 1]
            if len(state.committed) < index <= len(member.history):
                counted = self._committed(state, member.history[:index], member.epoch)
                if isinstance(counted, Violation):
                    return counted
                state = counted
        return state

    def _committed(self, state: State, history: bytes, epoch: int) -> State | Violation:
        known = common(history, state.committed)
        if known < min(len(history), len(state.committed)):
            return Violation("two entries are committed at one index")
        if len(history) <= len(state.committed):
            return state
        for later in range(epoch + 1, len(state.led)):
            if state.led[later] != UNLED and state.led[later][1][: len(history)] != history:
                return Violation("a later leader, established before, lacks a committed entry")
        more = bytes((epoch,)) * (len(history) - len(state.committed))
        return state._replace(committed=history, committed_in=state.committed_in + more)

    # ------------------------------------------------------------------------------------------------------- pull

    def _pull(self, state: State, number: int, member: Member) -> Steps[State]:
        rule = self.rule
        if member.role in (ESTABLISHED, BROADCASTING) and rule.not_leading:
            return
        if member.role == DISCOVERING and rule.not_in_count:
            return
        if member.role in (ACCEPTED, SYNCHRONISING, FOLLOWING) and rule.not_following:
            return
        if member.role == PULLING:
            return
        seen: set[tuple[int, bytes]] = set()
        sources = [(other.current, other.history) for position, other in enumerate(state.members) if position != number]
        sources += [(epoch, history) for epoch, (leader, _, history) in enumerate(state.led) if leader != NOBODY]
        for current, history in sources:
            origin = state.led[current][1]
            for end in range(len(origin) if rule.whole else 1, len(history) + 1):
                result = history[:end]
                if rule.whole and result[: len(origin)] != origin:
                    continue  # its sender is being synchronised with a later epoch
                ranked = (current, last_term(result), end)
                if (current, result) in seen or (rule.ranks_above and ranked <= rank(member)):
                    continue
                seen.add((current, result))
                yield from self._take(state, number, member, current, result)

    def _pull_on(self, state: State, number: int, member: Member) -> Steps[State]:
        """The next part."""
        origin = state.led[member.epoch][1]
        after = member._replace(history=origin[: len(member.history) + 1])
        if len(after.history) >= len(origin):
            after = after._replace(current=member.epoch, role=LOOKING, epoch=0)
        yield from self._stepped(f"{number} pulls on: {name(after)}", self._write(state, number, after, ()))

    def _take(self, state: State, number: int, member: Member, current: int, history: bytes) -> Steps[State]:
        kept = common(member.history, history)
        if self.rule.in_parts and kept < len(state.led[current][1]):
            after = member._replace(
                accepted=max(member.accepted, current), history=history[:kept], role=PULLING, epoch=current
            )
            label = f"{number} begins to pull {show(history)}: {name(member)} -> {name(after)}"
            if removes_committed(state, member.history, after.history):
                yield label, Violation("a committed entry is removed")
            else:
                yield from self._stepped(label, self._write(state, number, after, ()))
            return
        after = member._replace(history=history)
        if self.rule.adopts_current:
            after = after._replace(current=current)
            if self.rule.adopts_accepted:
                after = after._replace(accepted=max(member.accepted, current))
        if after == member:
            return
        claims: tuple[Claim, ...] = ()
        if self.rule.acknowledges:
            claims = ((ACK, last_term(history), number, len(history), False, NO_RANK),)
        label = f"{number} pulls: {name(member)} -> {name(after)}"
        if removes_committed(state, member.history, history):
            yield label, Violation("a committed entry is removed")
            return
        if member.role in (ESTABLISHED, BROADCASTING):
            leader, origin, _ = state.led[member.epoch]
            state = state._replace(led=put(state.led, member.epoch, (leader, origin, history)))
        yield from self._stepped(label, self._write(state, number, after, claims))

    # ------------------------------------------------------------------------------------------------------ checks

    def _stepped(self, label: str, after: State | None) -> Steps[State]:
        if after is not None:
            yield label, self._checked(after)

    def _checked(self, state: State) -> State | Violation:
        counted = self._count(state)
        if isinstance(counted, Violation):
            return counted
        state = counted
        members = state.members
        for one in range(len(members)):
            for other in range(one):
                if not match(members[one].history, members[other].history):
                    return Violation("one index and epoch, two histories")
            member = members[one]
            if member.role == FOLLOWING and not state.led[member.epoch][2].startswith(member.history):
                return Violation("a follower's history is not its leader's")
        held = sum(1 for member in members if member.disk[2].startswith(state.committed))
        if held < self.quorum:
            return Violation("a committed entry is on the disks of no quorum")
        return state

    # ---------------------------------------------------------------------------------------------------- symmetry

    def canonical(self, state: State) -> State:
        """One of all states that differ in the members' names."""
        keys = [(*member[:5], member[5] == number, member[6]) for number, member in enumerate(state.members)]
        best = None
        if len(set(keys)) == len(keys):
            best = renamed(state, sorted(range(len(keys)), key=keys.__getitem__))
        else:
            ordered = sorted(keys)
            for order in permutations(range(len(keys))):
                if [keys[number] for number in order] == ordered:
                    other = renamed(state, list(order))
                    best = other if best is None else min(best, other)
        assert best is not None
        return State(*[self._keep(part) for part in best])  # type: ignore[arg-type]

    def _keep(self, part: object) -> object:
        """One object for equal parts: the states that wait share most of theirs."""
        return self._kept.setdefault(part, part)


def renamed(state: State, order: list[int]) -> State:
    """Member ``order[0]`` becomes 0, and so on."""
    if order == sorted(order):
        return state
    new = [0] * (len(order) + 1)
    for position, number in enumerate(order):
        new[number] = position
    new[NOBODY] = NOBODY

    def claim(old: Claim) -> Claim:
        kind, epoch, who, what, by_this, ranked = old
        return (kind, epoch, new[who], new[what] if kind == ACCEPT else what, by_this, ranked)

    def write(old: Write) -> Write:
        return Write(old.accepted, old.current, old.history, tuple(sorted(map(claim, old.claims))))

    members = tuple(
        [
            Member(m[0], m[1], m[2], m[3], m[4], new[m[5]], m[6], tuple(map(write, m[7])))
            for m in [state.members[number] for number in order]
        ]
    )
    return State(
        members,
        tuple(sorted([(epoch, new[leader]) for epoch, leader in state.announced])),
        tuple(sorted([(epoch, new[a], new[b], ranked) for epoch, a, b, ranked in state.accepted])),
        tuple([(new[leader], origin, history) for leader, origin, history in state.led]),
        tuple(sorted([(epoch, new[member]) for epoch, member in state.synchronised])),
        tuple([tuple([by[number] for number in order]) for by in state.acked]),
        state.committed,
        state.committed_in,
        state.crashes,
    )


def said(state: State, claims: tuple[Claim, ...]) -> State:
    """What was claimed is under way for ever."""
    announced, accepted, synchronised, acked = state.announced, state.accepted, state.synchronised, state.acked
    for kind, epoch, who, what, _, ranked in claims:
        if kind == ANNOUNCE:
            announced = tuple(sorted({*announced, (epoch, who)}))
        elif kind == ACCEPT:
            accepted = tuple(sorted({*accepted, (epoch, who, what, ranked)}))
        else:
            if kind == SYNCHRONISED:
                synchronised = tuple(sorted({*synchronised, (epoch, who)}))
            if what > acked[epoch][who]:
                acked = put(acked, epoch, put(acked[epoch], who, what))
    return state._replace(announced=announced, accepted=accepted, synchronised=synchronised, acked=acked)


def removes_committed(state: State, before: bytes, after: bytes) -> bool:
    """Does a committed entry get lost here?"""
    return common(after, state.committed) < common(before, state.committed)


def name(member: Member) -> str:
    """Accepted and current epoch, and the history, as its epochs."""
    return f"({member.accepted}, {member.current}, {show(member.history)})"


@dataclass(frozen=True, slots=True)
class Mutant:
    """The rule without one condition, and a way to a violation, as labels of steps."""

    rule: Rule
    trace: tuple[str, ...]
    bounds: Bounds = Bounds()


RULE = Rule()
_EPOCH_2_BY_0 = (
    "0 looks",
    "0 tries to lead epoch 2",
    "2 follows 0 into epoch 2",
    "0 establishes epoch 2",
    "2 keeps [1] of [1] for epoch 2",
    "0 broadcasts in epoch 2",
    "0 proposes: [1 2]",
)
MUTANTS: dict[str, Mutant] = {
    "the result need not rank above the own history": Mutant(
        replace(RULE, ranks_above=False), ("1 looks", "1 pulls: (1, 1, [1]) -> (1, 1, [])")
    ),
    "the current epoch does not come with its history": Mutant(
        replace(RULE, adopts_current=False),
        (
            "1 looks",
            *_EPOCH_2_BY_0,
            "1 pulls: (1, 1, [1]) -> (1, 1, [1 2])",
            "2 appends: [1 2]",
            "1 pulls: (1, 1, [1 2]) -> (1, 1, [1])",
        ),
    ),
    "the accepted epoch stays behind the current one": Mutant(
        replace(RULE, adopts_accepted=False),
        (
            "1 looks",
            *_EPOCH_2_BY_0,
            "1 pulls: (1, 1, [1]) -> (1, 2, [1 2])",
            "1 follows 0 into epoch 1",
            "2 appends: [1 2]",
            "1 keeps [1] of [1 2] for epoch 1",
        ),
    ),
    "a current epoch without its whole initial history": Mutant(
        replace(RULE, whole=False),
        (
            "0 proposes: [1 1]",
            "1 appends: [1 1]",
            "1 looks",
            "1 tries to lead epoch 2 with (1, 1, [1 1])",
            "2 follows 1 into epoch 2",
            "0 looks",
            "1 establishes epoch 2",
            "0 pulls: (1, 1, [1 1]) -> (2, 2, [1])",
        ),
    ),
    "a pull in mid-count": Mutant(
        replace(RULE, not_in_count=False),
        (
            "1 looks",
            "1 tries to lead epoch 2",
            "2 follows 1 into epoch 2",
            "0 looks",
            "0 tries to lead epoch 3",
            "2 follows 0 into epoch 3",
            "0 establishes epoch 3",
            "2 keeps [1] of [1] for epoch 3",
            "0 broadcasts in epoch 3",
            "0 proposes: [1 3]",
            "1 pulls: (2, 1, [1]) -> (3, 3, [1 3])",
            "2 appends: [1 3]",
            "1 establishes epoch 2 with (3, 3, [1 3])",
            "1 looks",
            "1 pulls: (3, 2, [1 3]) -> (3, 3, [1])",
        ),
    ),
    "a follower pulls and goes on following": Mutant(
        replace(RULE, not_following=False), (*_EPOCH_2_BY_0, "1 pulls: (1, 1, [1]) -> (2, 2, [1 2])")
    ),
    "a leader pulls": Mutant(
        replace(RULE, not_leading=False),
        (
            "1 looks",
            "1 tries to lead epoch 2",
            "2 follows 1 into epoch 2",
            "2 looks",
            "1 establishes epoch 2",
            "0 pulls: (1, 1, [1]) -> (2, 2, [1])",
            "0 proposes: [1 1]",
            "2 pulls: (2, 1, [1]) -> (2, 1, [1 1])",
            "1 pulls: (2, 2, [1]) -> (2, 2, [1 1])",
            "0 looks",
            "0 follows 1 into epoch 2",
            "0 keeps [1 1] of [1 1] for epoch 2",
            "1 broadcasts in epoch 2",
            "2 pulls: (2, 1, [1 1]) -> (2, 2, [1])",
        ),
    ),
    "a pull is acknowledged": Mutant(
        replace(RULE, acknowledges=True),
        (
            "1 looks",
            "1 tries to lead epoch 2",
            "2 follows 1 into epoch 2",
            "0 proposes: [1 1]",
            "2 looks",
            "2 pulls: (2, 1, [1]) -> (2, 1, [1 1])",
            "1 establishes epoch 2",
        ),
    ),
}
EASED: dict[str, Rule] = {"a history is pulled in parts": replace(RULE, in_parts=True)}
"""Without a violation, too."""


def search(rule: Rule, bounds: Bounds, states_max: int) -> Report[State]:
    """Visit the states of the model."""
    model = Model(rule, bounds)
    return explore(initial(bounds), model.steps, model.canonical, states_max)


def main() -> None:
    """Search from the command line."""
    parser = argparse.ArgumentParser(description="Search the states of ZAB with pull")
    parser.add_argument("--states", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--entries", type=int, default=3)
    parser.add_argument("--crashes", type=int, default=1)
    parser.add_argument("--writes", type=int, default=1)
    parser.add_argument("--only", help="search this one: rule, or words of a condition's name")
    arguments = parser.parse_args()
    bounds = Bounds(3, arguments.epochs, arguments.entries, arguments.crashes, arguments.writes)
    rules = {"rule": RULE, "no pull": replace(RULE, pull=False), **EASED}
    rules |= {name: mutant.rule for name, mutant in MUTANTS.items()}
    for title, rule in rules.items():
        if arguments.only is None or arguments.only in title:
            began = time.process_time()
            report = search(rule, bounds, arguments.states)
            print(f"{title}: {report}, {time.process_time() - began:.0f} s", flush=True)
            for label, _ in report.trace:
                print(f"    {label}")


if __name__ == "__main__":
    main()
