"""Scenarios: which faults a world meets, and how often.

A scenario only names faults and rates, which mean what the fault says (``faults.fault``): mostly the mean time between
two in election timeouts, because that is the clock by which a cluster recovers. What happens exactly is drawn.
"""

from __future__ import annotations

import msgspec


class Scenario(msgspec.Struct, frozen=True):
    text: str
    faults: dict[str, int]


SCENARIOS: dict[str, Scenario] = {
    "fault-free": Scenario("nothing goes wrong", {}),
    "unreliable-network": Scenario(
        "messages are lost, duplicated, delayed; connections break", {"unreliable-network": 1, "broken-connections": 10}
    ),
    "partitions": Scenario(
        "links are cut, both ways and one way, and heal", {"partition": 6, "broken-connections": 20}
    ),
    "crashes": Scenario("processes are killed or stopped, and start again", {"kill": 4, "stop": 12, "slow-disk": 1}),
    "machine-losses": Scenario(
        "machines lose their power, one or all at once", {"machine-loss": 5, "power-cut": 25, "unreliable-network": 1}
    ),
    "pauses": Scenario("processes stand still, leaders above all", {"pause": 4, "slow-disk": 1}),
    "disks": Scenario(
        "disks are full or answer nothing for a while, leaders' above all",
        {"full-disk": 6, "hanging-disk": 10, "slow-disk": 1},
    ),
    "leader-failures": Scenario(
        "leaders die or are cut off as soon as they are elected, on an unreliable network",
        {"leader-failure": 90, "kill": 3, "unreliable-network": 1},
    ),
    "replaced-directories": Scenario(
        "machines come back with empty data directories or old copies, and get their own ones back later",
        {"wiped-directory": 4, "old-copy": 1, "kill": 4, "stop": 12},
    ),
    "strangers": Scenario(
        "strangers claim to be members, or say nothing", {"strangers": 1, "kill": 8, "broken-connections": 20}
    ),
    "everything": Scenario(
        "all of this together",
        {
            "kill": 8,
            "stop": 25,
            "machine-loss": 12,
            "power-cut": 60,
            "partition": 10,
            "pause": 15,
            "broken-connections": 25,
            "leader-failure": 10,
            "unreliable-network": 1,
            "slow-disk": 1,
            "full-disk": 25,
            "hanging-disk": 30,
        },
    ),
}
