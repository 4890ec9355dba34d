"""``ratified lab``: the textbook cases, from the production engines with their extensions switched off."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from ratified.lab.cases import Case

NODES_MAX = 63
ROUNDS_MAX = 1_000_000
PROPOSALS_MAX = 100_000
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
DUMP = typer.Option(None, "--dump", help="Write the canonical dump to this file.", metavar="FILE")


class Lab(Protocol):
    """A finished run of a case."""

    def dump(self) -> bytes:
        """The canonical end state."""

    def end_state(self) -> dict[str, object]:
        """The end state for people."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    lab = typer.Typer(name="lab", rich_markup_mode=None)
    lab.callback(invoke_without_command=True)(_start)
    lab.command()(raft)
    lab.command()(paxos)
    app.add_typer(lab)


def _start(context: typer.Context) -> None:
    """Run the textbook cases whose end states are known."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def raft(
    case: str = CASE,
    seed: int = SEED,
    nodes: int = NODES,
    rounds: int = ROUNDS,
    proposals: int = PROPOSALS,
    partition: str = PARTITION,
    dump: Path = DUMP,
    as_json: bool = AS_JSON,
) -> None:
    """Run Raft and print the SHA-256 of the canonical end state.

    \b
    Examples:
      ratified lab raft --case A
      ratified lab raft --seed 3 --nodes 5 --rounds 1500 --proposals 10 --partition 0,1
    """
    from ratified.lab.raft import run_raft

    _say(run_raft(_case(case, seed, nodes, rounds, proposals, partition)), dump, as_json)


def paxos(
    case: str = CASE,
    seed: int = SEED,
    nodes: int = NODES,
    rounds: int = ROUNDS,
    proposals: int = PROPOSALS,
    partition: str = PARTITION,
    dump: Path = DUMP,
    as_json: bool = AS_JSON,
) -> None:
    """Run Multi-Paxos and print the SHA-256 of the canonical end state.

    \b
    Examples:
      ratified lab paxos --case A
      ratified lab paxos --seed 3 --nodes 5 --rounds 1500 --proposals 10 --partition 0,1
    """
    from ratified.lab.paxos import run_paxos

    _say(run_paxos(_case(case, seed, nodes, rounds, proposals, partition)), dump, as_json)


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
