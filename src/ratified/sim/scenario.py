"""Scenarios: what kinds of trouble a world meets. The faults say to which scenarios they belong, and at which rates.

A rate means what the fault says (``faults.fault``): mostly the mean time between two in election timeouts, because that
is the clock by which a cluster recovers. What happens exactly is drawn.
"""

from __future__ import annotations

import msgspec

from ratified.sim.faults.registry import FAULTS


class Scenario(msgspec.Struct, frozen=True):
    text: str
    faults: dict[str, int]
    """Their rates, by name."""
    weight: int
    """How many seeds of a sweep meet it, of as many in a row as all weights are together."""


_ROWS = (
    ("fault-free", 1, "nothing goes wrong"),
    ("unreliable-network", 2, "messages are lost, duplicated, delayed; connections break"),
    ("partitions", 3, "links are cut, both ways and one way, and heal"),
    ("crashes", 2, "processes are killed or stopped, and start again"),
    ("machine-losses", 3, "machines lose their power, one or all at once"),
    ("checkpoints", 2, "stores are copied all the time, copies fail, machines and processes die, logs are cut"),
    ("absences", 2, "members are away until the log is cut beyond them, sessions break, processes and machines die"),
    ("pauses", 2, "processes stand still, leaders above all"),
    ("disks", 1, "disks are full or answer nothing for a while, leaders' above all; stores grow up to a quota"),
    ("leader-failures", 2, "leaders die or are cut off as soon as they are elected, on an unreliable network"),
    (
        "quiet",
        1,
        "clients ask rarely, groups rest; processes die, stand still, are away, links are cut, the lead is moved",
    ),
    ("transfers", 1, "operators move the lead, processes are killed, messages are lost"),
    ("replaced-directories", 1, "machines come back with empty data directories or old copies, and later their own"),
    ("strangers", 1, "strangers claim to be members, say nothing, or send what is no frame"),
    ("partial-topologies", 1, "members see each other only in part: star, chain, and a hub that is behind"),
    ("upgrades", 1, "members run this version or an earlier one, one by one another one; some are away for long"),
    ("leases", 1, "leaders read under leases, clocks drift, leaders are cut off, stand still, die, or hand over"),
    ("log-leases", 1, "the same, and the leases are in the log"),
    (
        "members",
        3,
        "members are added, promoted and removed, some are away; links are cut, processes and machines die",
    ),
    ("large-requests", 1, "clients ask for much work with few bytes, of slow machines too; processes are killed"),
    (
        "users",
        1,
        "operators change who may do what, users ask; processes and machines die, links are cut, some are away",
    ),
    ("together", 1, "many puts are one command, many gets one query; processes and machines die, links are cut"),
    ("alarms", 1, "an alarm stands now and then; processes are killed, members are away until they need a snapshot"),
    (
        "everything",
        2,
        "all of this but leases, transfers, strangers, replaced directories, members, large requests, users, "
        "puts together, alarms",
    ),
)
SCENARIOS: dict[str, Scenario] = {
    name: Scenario(
        text, {fault.name: fault.scenarios[name] for fault in FAULTS.values() if name in fault.scenarios}, weight
    )
    for name, weight, text in _ROWS
}
