"""A few worlds of every scenario on both networks, and what each of them must have met."""

import io
from collections import Counter

import msgspec
import pytest

from ratified.check.protocols import PROTOCOLS
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.sim.arguments import Arguments, replay_command
from ratified.sim.faults.registry import FAULTS
from ratified.sim.options import NetworkModel
from ratified.sim.scenario import SCENARIOS
from ratified.sim.simulation import simulate
from ratified.sim.sweep import IN_TURN, arguments_of, must_happen

RATE_SEEN = 10
"""A fault with this rate or a lower one happens in four short worlds."""


def never_met(scenario: str, network: NetworkModel, counters: Counter[str]) -> list[str]:
    """The faults of a scenario that should have happened."""
    expected = (FAULTS[name] for name, rate in SCENARIOS[scenario].faults.items() if rate <= RATE_SEEN)
    counted_by = {
        fault.name: fault.counters + (fault.datagram_counters if network is NetworkModel.DATAGRAM else ())
        for fault in expected
    }
    return [name for name, counted in counted_by.items() if counted and not any(counters[each] for each in counted)]


@pytest.mark.parametrize("network", NetworkModel)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_check_holds(scenario: str, network: NetworkModel) -> None:
    met: Counter[str] = Counter()
    for seed in range(1, 5):
        report = simulate(Arguments(seed=seed, scenario=scenario, network=network.value, duration_us=1_500_000))
        assert report.broken is None, f"{report.broken}\n{report.replay}"
        met.update(report.counters)
    assert met["elections"]
    assert not never_met(scenario, network, met)


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != DEFAULT_ENGINE])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_check_holds_on_the_other_engines(scenario: str, engine: str) -> None:
    networks = [NetworkModel.SESSION] if PROTOCOLS[engine].stands_on_sessions else list(NetworkModel)
    for seed, network in enumerate(networks * 2, start=1):
        arguments = Arguments(seed=seed, scenario=scenario, network=network.value, duration_us=1_500_000, engine=engine)
        report = simulate(arguments)
        assert report.broken is None, f"{report.broken}\n{report.replay}"


@pytest.mark.parametrize("nodes", [1, 2, 7])
def test_clusters_of_any_size_live(nodes: int) -> None:
    report = simulate(Arguments(seed=3, nodes=nodes, scenario="crashes", duration_us=1_500_000))
    assert report.broken is None, report.broken
    assert report.nodes == nodes


def test_a_trace_tells_what_happened_in_order() -> None:
    file = io.BytesIO()
    simulate(Arguments(seed=2, scenario="crashes", duration_us=1_000_000), trace=file)
    lines = [msgspec.json.decode(line) for line in file.getvalue().splitlines()]
    assert {"started", "killed", "request", "reply"} <= {line["what"] for line in lines}
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)


def test_the_report_says_how_to_run_this_world_again() -> None:
    arguments = Arguments(seed=9, nodes=3, duration_us=250_000, scenario="fault-free", network="datagram")
    assert replay_command(arguments) == (
        "ratified sim --seed 9 --nodes 3 --duration 250000us --scenario fault-free --network datagram --engine raft"
    )


def test_a_sweep_gives_every_scenario_both_networks() -> None:
    met = {(of.scenario, of.network) for of in (arguments_of(seed, 1) for seed in range(2 * len(IN_TURN)))}
    assert met == {(scenario, model.value) for scenario in SCENARIOS for model in NetworkModel}


def test_an_engine_that_stands_on_sessions_gets_no_other_network() -> None:
    for engine in (engine for engine, row in PROTOCOLS.items() if row.stands_on_sessions):
        met = {(of.scenario, of.network) for of in (arguments_of(seed, 1, engine) for seed in range(2 * len(IN_TURN)))}
        assert met == {(scenario, NetworkModel.SESSION.value) for scenario in SCENARIOS}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_sweep_must_have_seen_is_named_once(engine: str) -> None:
    assert len(set(must_happen(engine))) == len(must_happen(engine)) > 30
