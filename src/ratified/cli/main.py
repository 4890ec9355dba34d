"""The command's entry: all subcommands, and one line for whatever goes wrong."""

from __future__ import annotations

import os
import select
import sys
from typing import NoReturn

import typer

from ratified.cli import (
    auth,
    check,
    compare,
    demo,
    diagnose,
    endpoint,
    kv,
    lab,
    lease,
    lock,
    maintenance,
    member,
    migration,
    pki,
    recover,
    role,
    serve,
    sim,
    snapshot,
    txn,
    up,
    user,
    watch,
)
from ratified.cli.failure import CommandFailed

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
STDERR_FILENO = 2
ERROR_LINE_S = 1.0
"""How long the last line waits for room on standard error, in seconds."""


def make_app() -> typer.Typer:
    """The command with its subcommands."""
    app = typer.Typer(
        name="ratified",
        help="A replicated, strongly consistent key-value store that speaks etcd's API; and its simulator.",
        epilog="Try: ratified up",
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def start(
        context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and exit.")
    ) -> None:
        if version:
            from importlib.metadata import version as installed

            typer.echo(f"ratified {installed('ratified')}")
        elif context.invoked_subcommand is None:
            typer.echo(context.get_help())

    for command in (up, serve, demo, kv, txn, watch, lease, lock, endpoint, member, maintenance, check, diagnose):
        command.register(app)
    for command in (snapshot, auth, user, role, migration, recover, pki, sim, compare, lab):
        command.register(app)
    return app


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit."""
    _open_standard_streams()
    # gRPC's own log writes to standard error what the commands say better in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _open_standard_streams() -> None:
    """Where the parent has closed one (``2>&-``), nobody reads it; and no file of ours may get its number."""
    for number in range(STDERR_FILENO + 1):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def run(arguments: list[str]) -> int:
    """Run the command; the exit status."""
    if arguments[:1] == ["serve"]:
        arguments = ["serve", *serve.with_values(arguments[1:])]
    try:
        status = typer.main.get_command(make_app()).main(arguments, prog_name="ratified", standalone_mode=False)
    except CommandFailed as failed:
        return _failed(str(failed), EXIT_FAILED)
    except typer.TyperException as wrong:
        return _failed(wrong.format_message(), EXIT_USAGE)
    except (typer.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone, as `ratified get ... | head -1` does; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return status if isinstance(status, int) else 0


def _failed(text: str, status: int) -> int:
    # A process that must end does not wait for a reader of its standard error who has stopped.
    if select.select((), (STDERR_FILENO,), (), ERROR_LINE_S)[1]:
        print(f"ratified: error: {' '.join(text.split())}", file=sys.stderr)
    return status
