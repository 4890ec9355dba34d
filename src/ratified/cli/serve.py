"""``ratified serve``: one member, in the foreground.

Its flags are made from the table of options, in the groups of that. etcd's flags that are no options are taken as well,
and get the answer that ``etcd_flags`` has for them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand
from typing_extensions import override

from ratified.cli.failure import CommandFailed
from ratified.server.config import load
from ratified.server.etcd_flags import ETCD_FLAGS
from ratified.server.options import NAMES, PANELS, Option
from ratified.server.sources import CONFIG_FILE, KNOWN, PREFIXES, ConfigError, variable_of

FILE = "Configuration file"


class _Grouped(TyperCommand):
    """Its help has options under the headings of their groups."""

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(param, "rich_help_panel", None) or "Other", []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def register(app: typer.Typer) -> None:
    app.command(cls=_Grouped)(serve)


def with_values(arguments: list[str]) -> list[str]:
    """Arguments of ``serve`` as etcd takes them: a flag of yes or no that stands alone says yes, ``-name`` is
    ``--name``."""
    read: list[str] = []
    at = 0
    while at < len(arguments):
        argument, following = arguments[at], arguments[at + 1 : at + 2]
        name, equals, _ = argument.lstrip("-").partition("=")
        at += 1
        if not argument.startswith("-") or name not in KNOWN:
            read.append(argument)
        elif equals:
            read.append(f"--{argument.lstrip('-')}")
        elif _stands_alone(name, following):
            read.append(f"--{name}=true")
        else:
            read += [f"--{name}", *following]
            at += 1
    return read


def _stands_alone(name: str, following: list[str]) -> bool:
    if name in NAMES:
        return NAMES[name].is_boolean and following not in (["true"], ["false"])
    return not following or following[0].startswith("-")


def _flag(name: str, panel: str, option: Option | None) -> inspect.Parameter:
    default = f" [default: {option.default}]" if option is not None and option.default else ""
    given = typer.Option(
        None,
        f"--{name}",
        help=None if option is None else option.help + default,
        show_default=False,
        hidden=option is None,
        rich_help_panel=panel,
    )
    return _parameter(name, given, str | None)


def _parameter(name: str, given: Any, annotation: Any) -> inspect.Parameter:
    identifier = name.replace("-", "_")
    return inspect.Parameter(identifier, inspect.Parameter.KEYWORD_ONLY, default=given, annotation=annotation)


def _parameters() -> Iterator[inspect.Parameter]:
    for panel, options in PANELS.items():
        for option in options:
            yield _flag(option.name, panel, option)
            for alias in option.aliases:
                yield _flag(alias, panel, None)
    for flag in ETCD_FLAGS:
        yield _flag(flag.name, "", None)
    file = typer.Option(
        None,
        f"--{CONFIG_FILE}",
        help="TOML with options by their flag names, or etcd's YAML.",
        envvar=[variable_of(CONFIG_FILE, prefix) for prefix in PREFIXES],
        show_envvar=False,
        rich_help_panel=FILE,
    )
    yield _parameter(CONFIG_FILE, file, Path | None)


def serve(**given: Any) -> None:
    """Run one member of a cluster in the foreground, with etcd's flags.

    Without flags it is a cluster of one, on ports 2379 and 2380, in ./default.ratified. Every option is also a
    variable (--data-dir is RATIFIED_DATA_DIR, or ETCD_DATA_DIR) and a line of the file (data-dir = "..." in TOML,
    data-dir: ... in YAML); a flag counts before a variable, a variable before the file. Other flags of etcd are taken
    where they change nothing, and refused with what to do instead where they would. SIGTERM and Ctrl-C stop it
    cleanly.

    \b
    Examples:
      ratified serve
      ratified serve --name a --data-dir /var/lib/ratified \\
          --listen-client-urls http://10.0.0.1:2379 --listen-peer-urls http://10.0.0.1:2380 \\
          --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380
    """
    texts = {name: text for name in KNOWN if (text := given[name.replace("-", "_")]) is not None}
    try:
        config = load(texts, os.environ, given[CONFIG_FILE.replace("-", "_")])
    except ConfigError as wrong:
        raise CommandFailed(str(wrong)) from wrong
    from ratified.server.process import ServeFailed, run

    try:
        run(config)
    except ServeFailed as failed:
        raise CommandFailed(str(failed)) from failed


# Typer reads the flags off this.
serve.__signature__ = inspect.Signature([*_parameters()])  # type: ignore[attr-defined]
