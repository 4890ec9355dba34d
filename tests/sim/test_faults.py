"""Every fault happens where a scenario names it, and nothing of it lasts beyond the healing of the world."""

import pytest

from ratified.sim import simulation
from ratified.sim.arguments import Arguments
from ratified.sim.faults.fault import Fault
from ratified.sim.faults.registry import FAULTS
from ratified.sim.options import NetworkModel
from ratified.sim.scenario import SCENARIOS, Scenario
from ratified.sim.simulation import Simulation, simulate

RATE_OFTEN = 2
WORLDS = 10


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_belongs_to_scenarios_that_there_are(fault: Fault) -> None:
    assert fault.scenarios
    assert set(fault.scenarios) <= set(SCENARIOS)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_happens_and_heals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "SCENARIOS", {"one": Scenario("one fault alone", {name: RATE_OFTEN}, 1)})
    missing = {*FAULTS[name].counters, *FAULTS[name].datagram_counters}
    for seed in range(1, WORLDS + 1):
        arguments = Arguments(seed=seed, scenario="one", network=NetworkModel.DATAGRAM.value, duration_us=1_500_000)
        report = simulate(arguments)
        assert report.broken is None, f"{report.broken}"
        missing -= {counter for counter, count in report.counters.items() if count}
        if not missing:
            break
    assert not missing


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_healed_world_is_as_it_was_before_its_faults(seed: int) -> None:
    run = Simulation(Arguments(seed=seed, scenario="everything", duration_us=1_500_000), trace=None)
    run.run()
    options = run.options.cluster
    assert run.cluster.network.options == options.network
    for machine in run.cluster.machines.values():
        assert machine.up
        assert not machine.paused
        assert machine.disk_queue.options == options.disk
    before = run.world.counters["messages cut off"], run.world.counters["connections broken"]
    run.world.run(run.world.now + 5 * options.election_timeout_us)
    assert (run.world.counters["messages cut off"], run.world.counters["connections broken"]) == before
