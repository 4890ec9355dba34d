"""Where the values of options come from, and which of them counts.

Rules

1. A flag counts before a variable, ``RATIFIED_...`` before ``ETCD_...``, a variable before the file, the file before
   the default. An empty variable counts as not set.
2. Every wrong value ends in one ``ConfigError`` that names the option and the place where the value was found. So does
   a flag of etcd's that is no option here, unless it changes nothing (``etcd_flags``).
3. An unknown variable ``RATIFIED_...`` or ``ETCD_...`` is a warning, not an error, as with etcd: container systems make
   variables up from service names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ratified.server import etcd_flags
from ratified.server.options import NAMES, OPTIONS, Option

PREFIXES = ("RATIFIED_", "ETCD_")
"""Of variables; the first one counts."""
CONFIG_FILE = "config-file"
_ELSEWHERE = ("RATIFIED_ENDPOINTS", "RATIFIED_CACERT", "RATIFIED_CERT", "RATIFIED_KEY", "ETCD_UNSUPPORTED_ARCH")
"""Variables that are no options of a server."""
KNOWN = frozenset({*NAMES, *etcd_flags.BY_NAME})
"""Every flag that is taken, or refused with a reason."""


class ConfigError(Exception):
    """A configuration that cannot be served; one line that says what, where, and what to do."""


class Given(NamedTuple):
    """The text of an option, and where it stands."""

    text: str
    place: str


class Found(NamedTuple):
    """A value and the place where it was found; None: nowhere, it is the default."""

    value: Any
    place: str | None


class Sources(NamedTuple):
    """What an operator has said, by the names of flags."""

    flags: Mapping[str, str]
    environment: Mapping[str, str]
    file: Mapping[str, Given]

    def given(self, *names: str) -> list[Given]:
        """All that was given by any of these names, what counts first. Raises ``ConfigError`` where two names of one
        option stand in the same place."""
        levels = (
            [Given(self.flags[name], f"flag --{name}") for name in names if name in self.flags],
            *(
                [
                    Given(text, f"variable {variable}")
                    for variable in (variable_of(name, prefix) for name in names)
                    if (text := self.environment.get(variable))
                ]
                for prefix in PREFIXES
            ),
            [self.file[name] for name in names if name in self.file],
        )
        for level in levels:
            if len(level) > 1:
                raise ConfigError(f"{level[0].place} and {level[1].place} are the same option: give one of them")
        return [given for level in levels for given in level]


def variable_of(name: str, prefix: str = PREFIXES[0]) -> str:
    """The environment variable of this flag."""
    return prefix + name.upper().replace("-", "_")


def gather(sources: Sources) -> tuple[dict[str, Found], tuple[str, ...]]:
    """The value of every option, and what an operator should know. Raises ``ConfigError``."""
    found: dict[str, Found] = {}
    warnings: list[str] = []
    for option in OPTIONS:
        given = sources.given(*option.names)
        found[option.name] = _read(option, given[0]) if given else _default(option)
        warnings += _contradictions(given)
    for flag in etcd_flags.ETCD_FLAGS:
        for text, place in sources.given(flag.name)[:1]:
            if not flag.accepts(text):
                raise ConfigError(f"{place}: {flag.reason}")
    return found, (*warnings, *_unknown_variables(sources.environment))


def _read(option: Option, given: Given) -> Found:
    try:
        return Found(option.read(given.text), given.place)
    except ValueError as wrong:
        raise ConfigError(f"{given.place}: {wrong}") from wrong


def _default(option: Option) -> Found:
    return Found(option.read(option.default) if option.default else None, None)


def _contradictions(given: list[Given]) -> list[str]:
    """Two variables of one option that say different things."""
    variables = [each for each in given if each.place.startswith("variable ")]
    if len({each.text for each in variables}) < 2:
        return []
    counts, other = variables
    return [f"{counts.place} counts, and {other.place}, which says something else, does not"]


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    known = {variable_of(name, prefix) for name in (*KNOWN, CONFIG_FILE) for prefix in PREFIXES}
    return [
        f"unknown variable {variable} is ignored{meant(variable, known)}"
        for variable in sorted(environment)
        if variable.startswith(PREFIXES) and variable not in known and variable not in _ELSEWHERE
    ]


def meant(wrong: str, known: Iterable[str]) -> str:
    """What to add to a line about a name that nobody knows."""
    close = difflib.get_close_matches(wrong, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
