"""How the client's commands take bytes from the command line, and show them.

Text is UTF-8, and what is no text goes through as it is: an argument's bytes are those that the shell gave. With
``--hex`` keys and values are hexadecimal, as given and as shown. JSON has text as text, other bytes in base64 under
another name, and ids in hexadecimal as etcdctl shows them.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from ratified.client import Deleted, Event, KeyValue, Put, Range, Txn

AS_JSON = typer.Option(False, "--json", help="Answer in JSON.")
KEY = typer.Argument(metavar="KEY")
HEX = typer.Option(False, "--hex", help="Keys and values are hexadecimal, as given and as shown.")
PREFIX = typer.Option(False, "--prefix", help="All keys that begin with KEY.")
FROM_KEY = typer.Option(False, "--from-key", help="All keys from KEY on.")
END = typer.Option(None, "--end", metavar="KEY", help="All keys from KEY on that come before this one.")

VALUE_BYTES_MAX = 64 << 20
"""Of a value that is read from standard input; members take less."""


class Keys:
    """Which keys a command is for."""

    def __init__(self, key: str, *, prefix: bool = False, from_key: bool = False, end: str | None = None, hex: bool):
        chosen = [
            name
            for name, given in (("--prefix", prefix), ("--from-key", from_key), ("--end", end is not None))
            if given
        ]
        if len(chosen) > 1:
            raise typer.BadParameter(f"{' and '.join(chosen)} exclude each other")
        self.key = data(key, hex=hex)
        self.prefix = prefix
        self.end = b"\0" if from_key else None if end is None else data(end, hex=hex)


def data(text: str, *, hex: bool) -> bytes:
    """The bytes of an argument."""
    if not hex:
        return os.fsencode(text)
    try:
        return bytes.fromhex(text)
    except ValueError as wrong:
        raise typer.BadParameter(f"{text!r} is not hexadecimal, and --hex is given") from wrong


def standard_input(what: str) -> bytes:
    """All of it, for what was not given as an argument."""
    if sys.stdin.isatty():
        raise typer.BadParameter(f"{what} is missing: give it as an argument, or on standard input")
    read = sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)
    if len(read) > VALUE_BYTES_MAX:
        raise typer.BadParameter(f"{what} on standard input has more than {VALUE_BYTES_MAX} bytes")
    return read


def id_of(text: str, what: str) -> int:
    """An id as etcdctl and these commands show it."""
    try:
        return int(text, 16)
    except ValueError as wrong:
        raise typer.BadParameter(f"{what} {text!r} is no id: those are hexadecimal, as 32695f1d3ab2c5d1") from wrong


def shown(bytes_: bytes, *, hex: bool = False) -> str:
    """For people: what is no text is escaped."""
    return bytes_.hex() if hex else bytes_.decode(errors="backslashreplace")


def pair_lines(pair: KeyValue, *, hex: bool = False) -> str:
    return f"{shown(pair.key, hex=hex)}\n{shown(pair.value, hex=hex)}"


def print_json(content: object) -> None:
    typer.echo(json.dumps(content))


def in_json(name: str, bytes_: bytes, *, hex: bool = False) -> dict[str, str]:
    """Text as text; other bytes in base64, or hexadecimal, under another name."""
    if hex:
        return {f"{name}_hex": bytes_.hex()}
    try:
        return {name: bytes_.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(bytes_).decode()}


def pair_in_json(pair: KeyValue, *, hex: bool = False) -> dict[str, Any]:
    return {
        **in_json("key", pair.key, hex=hex),
        **in_json("value", pair.value, hex=hex),
        "create_revision": pair.create_revision,
        "mod_revision": pair.mod_revision,
        "version": pair.version,
        "lease": f"{pair.lease:x}" if pair.lease else None,
    }


def event_in_json(event: Event, *, hex: bool = False) -> dict[str, Any]:
    before = {} if event.previous is None else {"previous": pair_in_json(event.previous, hex=hex)}
    return {"type": event.kind, "revision": event.revision, **pair_in_json(event.pair, hex=hex), **before}


def result_in_json(result: Put | Range | Deleted | Txn, *, hex: bool = False) -> dict[str, Any]:
    """The answer to one operation, alone or in a transaction."""
    from ratified.client import Deleted, Put, Range

    match result:
        case Put():
            before = None if result.previous is None else pair_in_json(result.previous, hex=hex)
            return {"revision": result.revision, **({} if before is None else {"previous": before})}
        case Range():
            pairs = [pair_in_json(pair, hex=hex) for pair in result.pairs]
            return {"revision": result.revision, "count": result.count, "pairs": pairs}
        case Deleted():
            gone = [pair_in_json(pair, hex=hex) for pair in result.previous]
            return {"revision": result.revision, "deleted": result.deleted, **({"previous": gone} if gone else {})}
    results = [result_in_json(each, hex=hex) for each in result.results]
    return {"revision": result.revision, "succeeded": result.succeeded, "results": results}
