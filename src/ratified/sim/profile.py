"""What a seed draws beside its limits: sizes, timers, weather, pace, habits.

Each is drawn on a key of its own, and only from what an operator could meet.
"""

from __future__ import annotations

import msgspec

from ratified.sim.clients import Habits
from ratified.sim.network import Weather
from ratified.sim.process import Pace
from ratified.sim.scenario import Scenario
from ratified.sim.world import Concern, Stream


class Profile(msgspec.Struct, frozen=True):
    """One world's manners."""

    nodes: int
    groups: int
    election_timeout_us: int
    heartbeat_us: int
    weather: Weather
    calm: Weather
    """The weather after the world has healed."""
    pace: Pace
    calm_pace: Pace
    habits: Habits
    through_wire: bool
    """Frames are encoded and decoded on their way."""
    watchers: int
    """Per group; only the key-value store can be watched."""
    readers: int
    """Per group."""
    lessees: int
    """Per group."""
    state_machine: bool
    """The groups replicate a user's ``StateMachine``, and not the key-value store."""


class _Draws:
    """One stream for each question."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def pick(self, question: int, *choices: int) -> int:
        return Stream(self._seed, Concern.PROFILE, question).pick(choices)


def draw_profile(seed: int, scenario: Scenario, nodes: int | None) -> Profile:
    """The profile of the world with this seed."""
    draws = _Draws(seed)
    timeout = draws.pick(1, 100_000, 200_000, 400_000)
    calm = Weather(
        grain_us=draws.pick(2, 1, 1, 500),
        latency_least_us=draws.pick(3, 100, 1_000),
        latency_most_us=draws.pick(4, 1_000, 4_000, 12_000),
        stall_least_us=timeout // 2,
        stall_most_us=4 * timeout,
        redial_least_us=timeout // 20,
        redial_most_us=timeout,
    )
    weather = calm
    if scenario.weather:
        weather = msgspec.structs.replace(
            calm,
            loss_chance=draws.pick(5, 0, 10_000, 100_000, 300_000),
            duplicate_chance=draws.pick(6, 0, 20_000, 200_000),
            slow_chance=draws.pick(7, 0, 20_000, 100_000),
            slow_most_us=draws.pick(8, timeout // 4, timeout),
            break_chance=draws.pick(9, 0, 500, 5_000),
        )
    calm_pace = Pace(
        turn_most_us=draws.pick(10, 0, 50, 500),
        sync_most_us=draws.pick(11, 500, 3_000, 10_000),
    )
    pace = calm_pace
    if scenario.slow_disks:
        pace = msgspec.structs.replace(
            calm_pace, slow_sync_chance=draws.pick(12, 0, 10_000, 100_000), slow_sync_most_us=timeout
        )
    return Profile(
        nodes=nodes if nodes is not None else draws.pick(13, 3, 3, 3, 4, 5, 5, 7),
        groups=draws.pick(14, 1, 1, 1, 3),
        election_timeout_us=timeout,
        heartbeat_us=timeout // draws.pick(15, 3, 5, 10),
        weather=weather,
        calm=calm,
        pace=pace,
        calm_pace=calm_pace,
        habits=Habits(
            clients=draws.pick(16, 1, 2, 4, 6),
            keys=draws.pick(17, 1, 2, 5),
            think_most_us=draws.pick(18, timeout // 10, timeout // 2),
            timeout_least_us=draws.pick(19, 1_000, timeout),
            timeout_most_us=draws.pick(20, timeout, 3 * timeout, 10 * timeout),
            probe_timeout_us=20 * timeout,
            value_bytes=draws.pick(25, 0, 0, 600, 1_500),
            abandon_most_us=timeout,
        ),
        through_wire=draws.pick(21, 0, 0, 0, 1) == 1,
        watchers=draws.pick(23, 0, 1, 3),
        readers=draws.pick(26, 0, 0, 1, 2),
        lessees=draws.pick(24, 0, 0, 1, 2),
        state_machine=draws.pick(22, 0, 0, 0, 1) == 1,
    )
