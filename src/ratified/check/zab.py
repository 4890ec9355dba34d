"""ZAB's invariants, from what its members write, deliver and say (DSN 2011, section III).

- *Integrity*: what is delivered, the leader of its epoch broadcast.
- *Local primary order*: a leader numbers its proposals without a gap, each number once, behind its initial history.
- *Global primary order*: epochs never decrease along what is delivered.
- *Primary integrity*: whoever establishes an epoch has all that was committed before; and nothing of an earlier epoch
  is committed after a quorum began the epoch, unless it is in the initial history.
- *Epochs*: accepted and current epoch never fall, restarts or not; an epoch is accepted for one leader, led by one, and
  becomes current with the whole initial history in the log.
- *Commit*: within one epoch, the disks of a quorum that acknowledged NEWLEADER have that epoch as the current one, and
  the entry; counted in the configuration that the leader's history has there. Who pulled the epoch (rule 14 of the
  contract) counts for nothing.
- *Channels*: messages of a link are numbered without gaps, in the order in which they leave.
- *Nothing early* (rule 3): what CEPOCH, NEWEPOCH, ACKEPOCH, ACK and PONG claim, the sender's disk has when they leave.

*Total order* and *agreement* (one sequence is delivered, and every member delivers a prefix of it) hold of any group's
log, and are judged there. Every event costs the same however long the history is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import Any

from ratified.check.configurations import Configured, joined, reach
from ratified.check.group import GroupChecks
from ratified.check.image import LogImage
from ratified.check.oracle import Oracle
from ratified.check.violation import Violation
from ratified.consensus.contract import Entry, Era, Kind, Ready, Record, StateRecord
from ratified.consensus.entry import decode_configuration
from ratified.consensus.zab import decode_state
from ratified.consensus.zab.messages import (
    Ack,
    AckEpoch,
    AckHistory,
    AckNewLeader,
    AskLease,
    CEpoch,
    Commit,
    Ending,
    History,
    LeaseGranted,
    LeaseReleased,
    LinkBroken,
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
    TimeoutNow,
    UpToDate,
    Vote,
)
from ratified.consensus.zab.state import EpochState
from ratified.consensus.zab.zxid import unpack

FROM_LEADER = NewEpoch | NewLeader | History | UpToDate | Propose | Commit | Ping | Resign | LinkBroken | TimeoutNow
WAITS = CEpoch | NewEpoch | AckEpoch | AckHistory | AckNewLeader | Ack
"""What goes after the disk (rule 3); a link numbers it apart from what goes at once."""
OVERTAKES = Ping | Resign | LinkBroken
OUTSIDE_LINKS = Vote | Probe | ProbeAnswer | Pull | PullAnswer | AskLease | LeaseGranted | LeaseReleased


class Established:
    """An epoch that a leader has begun: its initial history, and how far each member's disk has come in it."""

    __slots__ = (
        "configurations",
        "durable",
        "epoch",
        "firsts",
        "h",
        "leader",
        "next",
        "origin",
        "run_epochs",
        "synchronised",
    )

    def __init__(
        self, epoch: int, leader: int, log: LogImage, members: Iterable[int], configurations: Configured
    ) -> None:
        """``configurations``: those delivered so far."""
        self.epoch = epoch
        self.configurations = joined(configurations, log.configurations)[-1:]
        """The leader's, by index, from the one on that its initial history ends with."""
        self.leader = leader
        self.origin = log.last
        self.h = log.chain[-1]
        self.next = self.origin + 1
        """Where the leader's next proposal goes."""
        self.synchronised = False
        self.durable = dict.fromkeys(members, -1)
        self.firsts: list[int] = []
        self.run_epochs: list[Era] = []
        index = log.base
        while index <= log.last:
            era = log.eras[index - log.base]
            self.firsts.append(index)
            self.run_epochs.append(era)
            index = log.base + bisect_right(log.eras, era)

    def era_at(self, index: int) -> Era | None:
        """The era of the initial history at ``index``; None: it does not reach there, or that is compacted away."""
        if index > self.origin or not self.firsts or index < self.firsts[0]:
            return None
        return self.run_epochs[bisect_right(self.firsts, index) - 1]


class ZabChecks(Oracle):
    def __init__(self, group: GroupChecks[LogImage]) -> None:
        self._group = group
        self._members = group.members
        self._states = dict.fromkeys(group.members, decode_state(b""))
        """What each member has asked to be written, and found at start."""
        self._epochs: dict[int, Established] = {}
        self._synchronised: list[Established] = []
        """Those whose initial history a quorum's disks have, by epoch."""
        self._accepted_for: dict[tuple[int, int], int] = {}
        self._acknowledged: set[tuple[int, int]] = set()
        """(member, epoch) of all that have acknowledged NEWLEADER."""
        self._delivered_eras: list[Era] = [(0, 0)]
        self._lanes: dict[tuple[int, int, bool, bool, bool], tuple[int, int]] = {}
        self.committed = 0
        """Up to where a quorum's disks have some epoch's history."""

    # ----------------------------------------------------------------------------------------------------- records

    def asks(self, member: int, record: Record) -> None:
        before = self._states[member]
        if isinstance(record, StateRecord):
            state = self._states[member] = decode_state(record.data)
            self._state(member, self._members[member].log, before, state)
        elif isinstance(record, Entry):
            self._entry(member, before, record)

    def durable(self, member: int, record: Record) -> None:
        self._count(member, self._members[member].disk)

    def recovered(self, member: int) -> None:
        self._count(member, self._members[member].disk)

    def started(self, member: int, applied: int) -> None:
        self._states[member] = decode_state(self._members[member].disk.state)

    def _state(self, member: int, log: LogImage, before: EpochState, state: EpochState) -> None:
        if state.accepted_epoch < before.accepted_epoch or state.current_epoch < before.current_epoch:
            raise Violation("epochs", f"member {member} goes from {before} back to {state}")
        if state.current_epoch > state.accepted_epoch:
            raise Violation("epochs", f"member {member} has {state}: a current epoch that it never accepted")
        if state.current_epoch == before.current_epoch:
            return
        epoch = self._epochs.get(state.current_epoch)
        if epoch is None:
            epoch = self._epochs[state.current_epoch] = Established(
                state.current_epoch, member, log, self._members, self._group.configurations
            )
            self._has_all_committed(epoch, log)
        is_here = log.base > epoch.origin or log.at(epoch.origin) == epoch.h
        if state.origin != epoch.origin or not is_here:
            raise Violation(
                "epochs",
                f"member {member} has {state} without the initial history of that epoch up to {epoch.origin}; its "
                f"history ends at {log.last}",
            )

    def _entry(self, member: int, state: EpochState, entry: Entry) -> None:
        epoch = self._epochs.get(entry.era[0])
        if epoch is None:
            raise Violation("integrity", f"member {member} has entry {entry.index} of {entry.era}, which nobody leads")
        if entry.era[0] > state.accepted_epoch:
            raise Violation("epochs", f"member {member} with {state} takes an entry of {entry.era}")
        if entry.era[0] == state.accepted_epoch != state.current_epoch:
            raise Violation("epochs", f"member {member} takes proposal {entry.index} before the history, with {state}")
        if entry.index < epoch.next:
            return
        if member != epoch.leader:
            raise Violation(
                "integrity", f"member {member} has entry {entry.index} of {entry.era}, which its leader never proposed"
            )
        if entry.index != epoch.next:
            raise Violation(
                "local primary order", f"the leader of {entry.era} proposes {entry.index}, not {epoch.next}"
            )
        if entry.index == epoch.origin + 1:
            self._is_synchronised(epoch, "proposes")
        epoch.next += 1
        if entry.kind is Kind.MEMBERSHIP:
            epoch.configurations.append((entry.index, decode_configuration(entry.data)[0]))

    def _count(self, member: int, disk: LogImage) -> None:
        """What a disk has got of its current epoch is acknowledged, or may be, unless the epoch was only pulled."""
        current = decode_state(disk.state).current_epoch
        epoch = self._epochs.get(current)
        if epoch is not None and (member == epoch.leader or (member, current) in self._acknowledged):
            epoch.durable[member] = disk.last
            reached = reach(epoch.configurations, epoch.durable.__getitem__, -1)
            self.committed = max(self.committed, reached)
            if reached >= epoch.origin and not epoch.synchronised:
                epoch.synchronised = True
                self._synchronised.append(epoch)
                self._synchronised.sort(key=lambda each: each.epoch)

    # --------------------------------------------------------------------------------------------------- deliveries

    def ready(self, member: int, ready: Ready) -> None:
        for entry in ready.deliver:
            if entry.index == len(self._delivered_eras):
                self._first(member, entry)
                self._delivered_eras.append(entry.era)

    def _first(self, member: int, entry: Entry) -> None:
        if entry.era < self._delivered_eras[-1]:
            raise Violation("global primary order", f"{entry.era} is delivered at {entry.index} after a later epoch")
        if entry.index > self.committed:
            raise Violation(
                "commit", f"member {member} delivers entry {entry.index}, a quorum's disks have up to {self.committed}"
            )
        for epoch in reversed(self._synchronised):
            if epoch.epoch <= entry.era[0]:
                return
            if epoch.era_at(entry.index) != entry.era:
                raise Violation(
                    "primary integrity",
                    f"member {member} delivers entry {entry.index} of {entry.era}, which the initial history of epoch "
                    f"{epoch.epoch} does not have, although a quorum began that epoch",
                )

    def _has_all_committed(self, epoch: Established, log: LogImage) -> None:
        # Later epochs' entries are no business of a leader that begins its own too late to lead anybody.
        last = bisect_left(self._delivered_eras, (epoch.epoch, 0)) - 1
        if last and not self._group.shape.is_complete(log, last):
            raise Violation(
                "primary integrity",
                f"member {epoch.leader} begins epoch {epoch.epoch} without entry {last}, which was delivered",
            )

    # ----------------------------------------------------------------------------------------------------- messages

    def leaves(self, sender: int, target: int, message: Any) -> None:
        disk = self._members[sender].disk
        state = decode_state(disk.state)
        if isinstance(message, Probe):
            self._is_durable(sender, message, message.ending)
        if isinstance(message, OUTSIDE_LINKS):
            return
        self._is_next_of_its_lane(sender, target, message)
        match message:
            case CEpoch(accepted_epoch=epoch) | NewEpoch(epoch=epoch) | Pong(epoch=epoch):
                self._has(sender, message, epoch <= state.accepted_epoch)
            case AckEpoch(epoch=epoch, ending=ending):
                self._has(sender, message, epoch <= state.accepted_epoch)
                self._is_durable(sender, message, ending)
                if message.accepted_now:
                    self._accepts_once(sender, epoch, target)
            case AckNewLeader(epoch=epoch):
                self._has(sender, message, epoch <= state.current_epoch)
                self._acknowledged.add((sender, epoch))
                self._count(sender, disk)
            case Ack(zxid=zxid):
                epoch, counter = unpack(zxid)
                index = self._epochs[epoch].origin + counter
                self._has(sender, message, index <= disk.base or (index, (epoch, 0)) in disk.held)
            case NewLeader(epoch=epoch):
                self._leads(sender, message, epoch)
            case Propose(zxid=zxid):
                self._leads(sender, message, unpack(zxid)[0])
            case UpToDate(zxid=zxid) | Commit(zxid=zxid):
                self._commits(sender, message, zxid)

    def _is_durable(self, sender: int, message: Any, ending: Ending) -> None:
        disk = self._members[sender].disk
        self._has(sender, message, ending.current_epoch <= decode_state(disk.state).current_epoch)
        at = (ending.last_index, (ending.last_epoch, 0))
        self._has(sender, message, ending.last_index <= disk.base or at in disk.held)

    def _is_next_of_its_lane(self, sender: int, target: int, message: Any) -> None:
        kinds = (FROM_LEADER, WAITS, OVERTAKES)
        from_leader, waits, overtakes = [isinstance(message, kind) for kind in kinds]
        lane = (sender, target, from_leader, waits, overtakes)
        link, seq = self._lanes.get(lane, (0, 0))
        # Whoever starts anew numbers its links from 1 again, so a first message may be of a known number.
        if message.seq != 1 and (message.link, message.seq) != (link, seq + 1):
            raise Violation("channels", f"member {sender} sends {message} to {target} after {seq} of link {link}")
        self._lanes[lane] = message.link, message.seq

    def _has(self, sender: int, message: Any, durable: bool) -> None:
        if not durable:
            disk = self._members[sender].disk
            raise Violation(
                "nothing early",
                f"member {sender} sends {message}; its disk has {decode_state(disk.state)} and a history up to "
                f"{disk.last}",
            )

    def _accepts_once(self, sender: int, epoch: int, leader: int) -> None:
        known = self._accepted_for.setdefault((sender, epoch), leader)
        if known != leader:
            raise Violation("epochs", f"member {sender} accepts epoch {epoch} for {known} and for {leader}")

    def _leads(self, sender: int, message: Any, epoch: int) -> None:
        known = self._epochs.get(epoch)
        if known is None or known.leader != sender:
            raise Violation("epochs", f"member {sender} sends {message} and does not lead that epoch")

    def _commits(self, sender: int, message: Any, zxid: int) -> None:
        number, counter = unpack(zxid)
        self._leads(sender, message, number)
        epoch = self._epochs[number]
        self._is_synchronised(epoch, f"sends {message}")
        if epoch.origin + counter > self.committed:
            raise Violation("commit", f"member {sender} sends {message}; quorums' disks have up to {self.committed}")

    def _is_synchronised(self, epoch: Established, does: str) -> None:
        if not epoch.synchronised:
            raise Violation(
                "commit",
                f"member {epoch.leader} {does} in epoch {epoch.epoch} before a quorum's disks have its initial history "
                f"up to {epoch.origin}",
            )
