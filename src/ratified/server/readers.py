"""How the texts of options are read. Each takes one text, and raises ``ValueError`` with what is wrong with it.

Yes, no and times are written as Go's programs take them, since scripts that start etcd write them so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

BCRYPT_COST_MIN = 4
BCRYPT_COST_MAX = 31
CERTIFICATE_YEARS_MAX = 100
_YES = ("true", "True", "TRUE", "t", "T", "1")
_NO = ("false", "False", "FALSE", "f", "F", "0")
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DOMAIN = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63})*")
_ORIGIN = re.compile(r"(https?)://([^/:]+|\[[0-9a-f:.]+\])(?::(\d+))?/?")
_USUAL_PORTS = {"http": "80", "https": "443"}
_PART_OF_TIME = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")
_TIME = re.compile(rf"(?:{_PART_OF_TIME.pattern})+")


def text(given: str) -> str:
    return given


def boolean(given: str) -> bool:
    if given in _YES:
        return True
    if given in _NO:
        return False
    raise ValueError(f"{given!r} is neither true nor false")


def one_of(*choices: str) -> Callable[[str], str]:
    def read(given: str) -> str:
        if given not in choices:
            raise ValueError(f"{given!r} is not one of: {', '.join(choices)}")
        return given

    return read


def count(given: str) -> int:
    try:
        number = int(given)
    except ValueError:
        raise ValueError(f"{given!r} is not a whole number") from None
    if number < 0:
        raise ValueError(f"{given} is negative")
    return number


def positive(given: str) -> int:
    number = count(given)
    if number == 0:
        raise ValueError("it must be at least 1")
    return number


def bcrypt_cost(given: str) -> int:
    cost = count(given)
    if not BCRYPT_COST_MIN <= cost <= BCRYPT_COST_MAX:
        raise ValueError(f"it must be from {BCRYPT_COST_MIN} to {BCRYPT_COST_MAX}")
    return cost


def years(given: str) -> int:
    number = positive(given)
    if number > CERTIFICATE_YEARS_MAX:
        raise ValueError(f"it must be at most {CERTIFICATE_YEARS_MAX} years")
    return number


def time_s(given: str) -> float:
    """``30m``, ``1h30m``, ``0``: in seconds."""
    if given == "0":
        return 0.0
    if not _TIME.fullmatch(given):
        raise ValueError(f"{given!r} is no time such as 500ms, 10s or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART_OF_TIME.findall(given))


def hours_or_time_s(given: str) -> float:
    """A whole number of hours, or as ``time_s``."""
    if given.isdecimal():
        return int(given) * _UNITS_S["h"]
    if not _TIME.fullmatch(given):
        raise ValueError(f"{given!r} is no number of hours, and no time such as 30m or 72h30m")
    return time_s(given)


def path(given: str) -> Path:
    if not given:
        raise ValueError("it is empty, and must be a file's path")
    return Path(given)


def log_outputs(given: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys("stderr" if part == "default" else part for part in map(str.strip, given.split(","))))
    if "" in names:
        raise ValueError(f"{given!r} has an output without a name")
    if "systemd/journal" in names:
        raise ValueError("systemd/journal is not written to directly: say stderr, which systemd keeps in its journal")
    return names


def member_name(given: str) -> str:
    if not given or "," in given or "=" in given or "/" in given:
        raise ValueError(f"{given!r} is no member name: it must not be empty or contain ',', '=' or '/'")
    return given


def member_names(given: str) -> tuple[str, ...]:
    return tuple(member_name(part.strip()) for part in given.split(","))


def hosts_or_all(given: str) -> frozenset[str]:
    """Empty: all of them, as ``*`` says."""
    found = names(given)
    return frozenset() if "*" in found else frozenset(name.lower().strip("[]") for name in found)


def origins(given: str) -> frozenset[str]:
    """As browsers send them: without the port that is usual; ``*`` is all of them."""
    return frozenset(_origin(name) for name in names(given))


def _origin(given: str) -> str:
    if given == "*":
        return given
    match = _ORIGIN.fullmatch(given)
    if match is None:
        raise ValueError(f"{given!r} is no origin such as https://dashboard.example:8080, and not *")
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" + ("" if port in (None, _USUAL_PORTS[scheme]) else f":{port}")


def domain(given: str) -> str:
    """Without a dot at its end."""
    name = given.rstrip(".")
    if not _DOMAIN.fullmatch(name):
        raise ValueError(f"{given!r} is no name of a domain such as example.com")
    return name


def names(given: str) -> tuple[str, ...]:
    """Separated by commas, at least one."""
    found = tuple(part.strip() for part in given.split(",") if part.strip())
    if not found:
        raise ValueError(f"{given!r} names nobody")
    return found
