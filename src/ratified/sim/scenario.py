"""Scenarios: which faults a world meets, how often, and what its network and machines are like.

A scenario only names kinds and frequencies. Frequencies are in election timeouts, because that is the clock by which a
cluster recovers; what happens exactly is drawn from the seed, each kind of fault on a key of its own.
"""

from __future__ import annotations

import msgspec


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """How often each kind of fault happens: the mean time between two of them, in election timeouts; 0: never."""

    text: str
    kill: int = 0
    """SIGKILL of one process: at once, at a commit of its store, or of the leader's."""
    stop: int = 0
    """SIGTERM of one process, which ends in order and starts again."""
    lose: int = 0
    """A machine loses its power."""
    lose_all: int = 0
    """All machines lose their power at once."""
    cut: int = 0
    """Links are cut: one member off, a minority off, one way only, a bridge, one link flapping."""
    hunt: int = 0
    """Of a hundred leaders so many die, or are cut off, within moments of their election."""
    pause: int = 0
    """A process stands still."""
    hang_up: int = 0
    """All connections of one member break."""
    weather: bool = False
    """Loss, duplication, delays that overtake, connections that break."""
    slow_disks: bool = False
    """Syncs that take as long as an election timeout."""


SCENARIOS: dict[str, Scenario] = {
    "calm": Scenario(text="nothing goes wrong"),
    "weather": Scenario(text="messages are lost, doubled, delayed; connections break", weather=True, hang_up=10),
    "partitions": Scenario(text="links are cut, both ways and one way, and heal", cut=6, hang_up=20),
    "crashes": Scenario(text="processes are killed or stopped, and start again", kill=4, stop=12, slow_disks=True),
    "machine-losses": Scenario(text="machines lose their power, one or all at once", lose=5, lose_all=25, weather=True),
    "pauses": Scenario(text="processes stand still, leaders above all", pause=4, slow_disks=True),
    "leader-hunt": Scenario(
        text="leaders die or are cut off as soon as they are elected, in bad weather", hunt=90, kill=3, weather=True
    ),
    "everything": Scenario(
        text="all of these together",
        kill=8,
        stop=25,
        lose=12,
        lose_all=60,
        cut=10,
        pause=15,
        hang_up=25,
        hunt=10,
        weather=True,
        slow_disks=True,
    ),
}
