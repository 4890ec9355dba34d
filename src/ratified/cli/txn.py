"""``ratified txn``: a transaction from standard input, in the words of ``etcdctl txn``.

Three paragraphs, each ended by an empty line or the end: comparisons, what to do where all hold, what to do where one
does not. One line each, quoted as for a shell::

    mod("key1") > "0"

    put key1 "overwrote it"

    put key1 "created it"
    get key1
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer
from typing_extensions import override

from ratified.cli.connection import Connection, asks_members
from ratified.cli.failure import CommandFailed
from ratified.cli.output import AS_JSON, HEX, Keys, data, id_of, pair_lines, print_json, result_in_json

if TYPE_CHECKING:
    from ratified.client import Compare, Do, Txn

T = TypeVar("T")

COMPARISON = re.compile(
    r"""\s*(?P<target>\w+)\s*\(\s*(?P<key>"(?:[^"\\]|\\.)*"|'[^']*'|[^)\s]+)\s*\)\s*(?P<relation>!=|==?|<|>)\s*(?P<value>.+?)\s*"""
)
NUMBERS = {"ver": "version", "c": "create", "m": "mod"}
"""etcdctl's short names."""
PROMPTS = (
    'comparisons: mod("key") > "0" (or value, create, version, lease; =, !=, <, >)',
    "where all hold: get, put or del, one a line",
    "where one does not hold: get, put or del, one a line",
)


def register(app: typer.Typer) -> None:
    app.command()(txn)


@asks_members
def txn(hex: bool = HEX, *, connection: Connection, as_json: bool = AS_JSON) -> None:
    """Compare some keys, and then do one thing or another, all at one revision. What to do is on standard input.

    Three paragraphs, ended by an empty line each: comparisons (mod, create, version, value or lease of a key; none is
    true), what to do where all hold, what to do where one does not. Operations are put KEY VALUE [--lease ID],
    get KEY [--prefix] [--from-key] [--end KEY] [--limit N] [--rev N], and del KEY [--prefix] [--from-key] [--end KEY].

    \b
    Example:
      ratified txn <<'END'
      version("leader") = "0"

      put leader "me"

      get leader
      END
    """
    first, second, third = _paragraphs(sys.stdin, prompt=sys.stdin.isatty())
    compares = _read(first, lambda line: _comparison(line, hex=hex))
    success = _read(second, lambda line: _operation(line, hex=hex))
    failure = _read(third, lambda line: _operation(line, hex=hex))
    with connection.client() as client:
        done = client.txn(compares, success, failure)
    if as_json:
        print_json(result_in_json(done, hex=hex))
    else:
        _print(done, hex=hex)


def _paragraphs(lines: Iterable[str], *, prompt: bool) -> Iterator[list[tuple[int, str]]]:
    """The three of them, each line with its number."""
    numbered = enumerate(lines, start=1)
    for words in PROMPTS:
        if prompt:
            typer.echo(words, err=True)
        paragraph: list[tuple[int, str]] = []
        for number, line in numbered:
            if not line.strip():
                break
            paragraph.append((number, line.rstrip("\n")))
        yield paragraph
    if prompt:
        return
    for number, line in numbered:
        if line.strip():
            raise CommandFailed(
                f"standard input, line {number}: a transaction has three paragraphs, and this is a fourth"
            )


def _read(paragraph: list[tuple[int, str]], parse: Callable[[str], T]) -> list[T]:
    read: list[T] = []
    for number, line in paragraph:
        try:
            read.append(parse(line))
        except (ValueError, typer.BadParameter) as wrong:
            raise CommandFailed(f"standard input, line {number}: {wrong}") from wrong
    return read


def _comparison(line: str, *, hex: bool) -> Compare:
    from ratified.client import compare_create, compare_lease, compare_mod, compare_value, compare_version

    found = COMPARISON.fullmatch(line)
    if found is None:
        raise ValueError(f'{line!r} is no comparison, such as mod("key") > "0"')
    key, value = data(_unquoted(found["key"]), hex=hex), _unquoted(found["value"])
    relation = "==" if found["relation"] == "=" else found["relation"]
    target = NUMBERS.get(found["target"], found["target"])
    if target in ("value", "val"):
        return compare_value(key, relation, data(value, hex=hex))
    if target == "lease":
        return compare_lease(key, relation, id_of(value, "lease"))
    compare = {"version": compare_version, "create": compare_create, "mod": compare_mod}.get(target)
    if compare is None:
        raise ValueError(f"{target!r} is nothing to compare: use mod, create, version, value or lease")
    if not value.lstrip("-").isdecimal():
        raise ValueError(f"{target} is compared with a whole number, not with {value!r}")
    return compare(key, relation, int(value))


def _unquoted(text: str) -> str:
    words = shlex.split(text)
    if len(words) != 1:
        raise ValueError(f"{text!r} is not one word: put it in quotes")
    return words[0]


class _Line(argparse.ArgumentParser):
    """The arguments of one operation. Raises ``ValueError``."""

    @override
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{self.prog}: {message}")


def _parsers() -> dict[str, _Line]:
    put = _Line("put", add_help=False, allow_abbrev=False)
    put.add_argument("key")
    put.add_argument("value")
    put.add_argument("--lease", default="0")
    get = _Line("get", add_help=False, allow_abbrev=False)
    delete = _Line("del", add_help=False, allow_abbrev=False)
    for parser in (get, delete):
        parser.add_argument("key")
        parser.add_argument("--prefix", action="store_true")
        parser.add_argument("--from-key", action="store_true")
        parser.add_argument("--end")
    for name in ("--limit", "--rev"):
        get.add_argument(name, type=int, default=0)
    for name in ("--keys-only", "--count-only"):
        get.add_argument(name, action="store_true")
    delete.add_argument("--prev-kv", action="store_true")
    return {"put": put, "get": get, "del": delete}


def _operation(line: str, *, hex: bool) -> Do:
    from ratified.client import Do

    name, *words = shlex.split(line)
    parser = _parsers().get(name)
    if parser is None:
        raise ValueError(f"{name!r} is no operation of a transaction: use put, get or del")
    given = parser.parse_args(words)
    if name == "put":
        return Do.put(data(given.key, hex=hex), data(given.value, hex=hex), lease=id_of(given.lease, "--lease"))
    keys = Keys(given.key, prefix=given.prefix, from_key=given.from_key, end=given.end, hex=hex)
    if name == "del":
        return Do.delete(keys.key, prefix=keys.prefix, end=keys.end, previous=given.prev_kv)
    return Do.get(
        keys.key,
        prefix=keys.prefix,
        end=keys.end,
        limit=given.limit,
        revision=given.rev,
        keys_only=given.keys_only,
        count_only=given.count_only,
    )


def _print(done: Txn, *, hex: bool) -> None:
    from ratified.client import Deleted, Range

    typer.echo("SUCCESS" if done.succeeded else "FAILURE")
    for result in done.results:
        typer.echo()
        match result:
            case Range():
                for pair in result.pairs:
                    typer.echo(pair_lines(pair, hex=hex))
            case Deleted():
                typer.echo(result.deleted)
            case _:
                typer.echo("OK")
