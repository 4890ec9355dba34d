"""``ratified lab``: the textbook cases, from the production engines with their extensions switched off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from ratified.cli.engine import ENGINE, choose, row
from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from ratified.lab.cases import Case

NODES_MAX = 63
ROUNDS_MAX = 1_000_000
PROPOSALS_MAX = 100_000
OPS_MAX = 100_000
KEYS_MAX = 1_000_000
U64_MAX = 2**64 - 1
CASE = typer.Option(
    "", "--case", help="A published case, A to F. Other options change it.", show_default=False, metavar="A..F"
)
SEED = typer.Option(None, "--seed", help="Seed of every draw. [default: 42]", show_default=False, min=0, max=U64_MAX)
NODES = typer.Option(None, "--nodes", help="Members of the cluster. [default: 3]", min=1, max=NODES_MAX)
ROUNDS = typer.Option(None, "--rounds", help="Ticks to run. [default: 1000]", min=0, max=ROUNDS_MAX)
PROPOSALS = typer.Option(
    None, "--proposals", help="Commands, spread over the rounds. [default: 5]", min=0, max=PROPOSALS_MAX
)
PARTITION = typer.Option(None, "--partition", help="Directed pairs that drop what they carry.", metavar="S,D,S,D...")
AS_JSON = typer.Option(False, "--json", help="Say the end state in JSON.")
STORE_SEED = typer.Option(42, "--seed", help="Seed of the operations.", min=0, max=U64_MAX)
OPS = typer.Option(500, "--ops", help="Operations to apply.", min=0, max=OPS_MAX)
KEYS = typer.Option(32, "--keys", help="How many keys they are about.", min=1, max=KEYS_MAX)
DUMP = typer.Option(None, "--dump", help="Write the canonical dump to this file.", metavar="FILE")


class Lab(Protocol):
    """A finished run of a case."""

    def dump(self) -> bytes:
        """The canonical end state."""

    def end_state(self) -> dict[str, object]:
        """The end state for people."""


def register(app: typer.Typer) -> None:
    lab = typer.Typer(name="lab", rich_markup_mode=None)
    lab.callback(invoke_without_command=True)(_start)
    for name, protocol in {"raft": "Raft", "paxos": "Multi-Paxos", "zab": "ZAB"}.items():
        lab.command(name)(_case_command(name, protocol))
    lab.command()(kv)
    lab.command()(capstone)
    app.add_typer(lab)


def _start(context: typer.Context) -> None:
    """Run the textbook cases whose end states are known."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _case_command(name: str, protocol: str) -> Callable[..., None]:
    """The command that runs a case on one protocol, by its row's name and the name that people read."""

    def command(
        case: str = CASE,
        seed: int = SEED,
        nodes: int = NODES,
        rounds: int = ROUNDS,
        proposals: int = PROPOSALS,
        partition: str = PARTITION,
        dump: Path = DUMP,
        as_json: bool = AS_JSON,
    ) -> None:
        from ratified.lab.protocols import TEXTBOOKS
        from ratified.lab.textbook import CaseRun

        _say(CaseRun(TEXTBOOKS[name], _case(case, seed, nodes, rounds, proposals, partition)), dump, as_json)

    command.__doc__ = f"""Run {protocol} and print the SHA-256 of the canonical end state.

    \b
    Examples:
      ratified lab {name} --case A
      ratified lab {name} --seed 3 --nodes 5 --rounds 1500 --proposals 10 --partition 0,1
    """
    return command


def kv(
    seed: int = STORE_SEED,
    ops: int = OPS,
    keys: int = KEYS,
    scenario: str = typer.Option("default", "--scenario", help="default or partition.", metavar="NAME"),
    engine: str = ENGINE,
    dump: Path = DUMP,
    as_json: bool = AS_JSON,
) -> None:
    """Replicate puts and deletes on five nodes; print the SHA-256 of the one dump that all of them end with.

    It is the same on every engine.

    \b
    Examples:
      ratified lab kv --seed 42 --ops 500 --keys 32
      ratified lab kv --seed 7 --ops 2000 --keys 128 --scenario partition --engine paxos
    """
    from ratified.lab.kv import SCENARIOS, KvLab

    choose("--scenario", scenario, list(SCENARIOS))
    _say_of_replicas(lambda: KvLab(row(engine), seed, ops, keys, scenario), dump, as_json)


def capstone(
    seed: int = STORE_SEED,
    ops: int = OPS,
    keys: int = KEYS,
    scenario: str = typer.Option("normal", "--scenario", help="normal, fault, members or snapshots.", metavar="NAME"),
    engine: str = ENGINE,
    dump: Path = DUMP,
    as_json: bool = AS_JSON,
) -> None:
    """Replicate a map of numbers on three nodes; print the SHA-256 of their dumps, log and map, in a row.

    It is the same on every engine. In the scenario 'fault' a follower is down for a while and catches up; in
    'snapshots' the others have cut their logs meanwhile, and send it a snapshot; in 'members' nodes join, leave and
    replace others.

    \b
    Examples:
      ratified lab capstone --seed 42 --ops 200 --keys 16
      ratified lab capstone --seed 7 --ops 2000 --keys 128 --scenario fault --engine paxos
      ratified lab capstone --scenario members --engine zab --json
    """
    from ratified.lab.capstone import SCENARIOS, CapstoneLab

    choose("--scenario", scenario, list(SCENARIOS))
    _say_of_replicas(lambda: CapstoneLab(row(engine), seed, ops, keys, scenario), dump, as_json)


def _say_of_replicas(run: Callable[[], Lab], dump: Path | None, as_json: bool) -> None:
    from ratified.lab.replicated import LabBroken

    try:
        _say(run(), dump, as_json)
    except LabBroken as broken:
        raise CommandFailed(str(broken)) from broken


def _say(lab: Lab, dump: Path | None, as_json: bool) -> None:
    """Print the digest, or with it the end state; write the dump where one is wanted."""
    content = lab.dump()
    digest = hashlib.sha256(content).hexdigest()
    if dump is not None:
        _write(dump, content)
    typer.echo(json.dumps({"sha256": digest, **lab.end_state()}, indent=2) if as_json else digest)


def _case(
    name: str, seed: int | None, nodes: int | None, rounds: int | None, proposals: int | None, partition: str | None
) -> Case:
    """The named case (A without a name), with what the options change in it."""
    from ratified.lab.cases import CASES, Case, CaseInvalid, parse_partition

    base = CASES.get((name or "A").upper())
    if base is None:
        raise typer.BadParameter(f"there is no case {name!r}; the cases are {', '.join(CASES)}", param_hint="--case")
    members = base.nodes if nodes is None else nodes
    try:
        cut = base.partition if partition is None else parse_partition(partition, members)
    except CaseInvalid as invalid:
        raise typer.BadParameter(str(invalid), param_hint="--partition") from invalid
    if any(max(pair) >= members for pair in cut):
        raise typer.BadParameter(
            f"case {name} cuts nodes that a cluster of {members} does not have; give --partition too",
            param_hint="--nodes",
        )
    return Case(
        seed=base.seed if seed is None else seed,
        nodes=members,
        rounds=base.rounds if rounds is None else rounds,
        proposals=base.proposals if proposals is None else proposals,
        partition=cut,
    )


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CommandFailed(f"cannot write the dump to {file}: {error.strerror}; give another --dump FILE") from error
