"""Virtual time and chance."""

from ratified.consensus.draws import mix
from ratified.sim.world import Concern, Draws, World


def order_of(seed: int, orderly: bool = False) -> list[int]:
    world = World(seed, orderly=orderly)
    seen: list[int] = []
    for sender in (3, 1, 2):
        world.at(10, sender, 9, seen.append, sender)
    world.run(10)
    return seen


def test_an_orderly_world_runs_simultaneous_events_by_sender() -> None:
    assert order_of(7, orderly=True) == [1, 2, 3]


def test_simultaneous_events_of_different_senders_meet_in_every_order() -> None:
    assert len({tuple(order_of(seed)) for seed in range(60)}) == 6


def test_simultaneous_events_of_one_link_keep_their_order() -> None:
    for seed in range(20):
        world = World(seed)
        seen: list[int] = []
        for number in range(5):
            world.at(10, 1, 2, seen.append, number)
        world.run(10)
        assert seen == [0, 1, 2, 3, 4]


def test_time_only_goes_forward_and_stops_where_it_is_told_to() -> None:
    world = World(1)
    seen: list[int] = []

    def later() -> None:
        seen.append(world.now)
        world.at(world.now + 5, 1, 1, later)

    world.at(5, 1, 1, later)
    world.run(17)
    assert (seen, world.now) == ([5, 10, 15], 17)


def test_a_draw_is_keyed_by_what_it_is_for_and_its_number() -> None:
    draws = Draws(42, Concern.LOSS, 1, 2)
    assert [draws.draw(), draws.draw()] == [mix(42, Concern.LOSS, 1, 2, 1), mix(42, Concern.LOSS, 1, 2, 2)]


def test_a_draw_more_on_one_key_moves_no_other() -> None:
    other = Draws(42, Concern.LOSS, 1, 3)
    Draws(42, Concern.LOSS, 1, 2).draw()
    assert other.draw() == Draws(42, Concern.LOSS, 1, 3).draw()


def test_two_runs_that_differ_in_the_time_of_one_event_have_two_fingerprints() -> None:
    fingerprints = set()
    for time in (3, 4):
        world = World(1)
        world.at(time, 1, 1, lambda: None)
        world.at(9, 1, 1, lambda: None)
        world.run(10)
        fingerprints.add(world.fingerprint)
    assert len(fingerprints) == 2
