"""The server's configuration: etcd's flag names, from flags, environment variables, a TOML file, or defaults.

Rules of this file:

1. One table (``OPTIONS``) says every option once: name, default, how its text is read, what it means. The command
   line, the variables (``--data-dir`` is ``RATIFIED_DATA_DIR``) and the file (``data-dir = "..."``) all come from it.
2. Precedence is flag, then variable, then file, then default. An empty variable counts as not set.
3. Units are etcd's: ``heartbeat-interval`` and ``election-timeout`` are milliseconds, sizes are bytes.
4. Every wrong value ends in one ``ConfigError`` that names the option and the place where the value was found.
5. An unknown variable ``RATIFIED_...`` is a warning, not an error, as with etcd: container systems make variables up
   from service names.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.runtime import LeaseKind
from ratified.server.urls import Url, parse_client_urls, parse_cluster, parse_urls

ENVIRONMENT_PREFIX = "RATIFIED_"
VARIABLES_ELSEWHERE = ("RATIFIED_ENDPOINTS", "RATIFIED_CACERT", "RATIFIED_CERT", "RATIFIED_KEY", "RATIFIED_CONFIG_FILE")
"""Variables of the command line that are no options of a server."""

HEARTBEATS_PER_ELECTION_MIN = 5
ELECTION_TIMEOUT_MS_MAX = 50_000
HEARTBEATS_PER_LEASE_MIN = 2
CLOCK_DRIFT_PERCENT_MAX = 50
CHECKPOINT_LOG_BYTES_MIN = 1 << 20
QUOTA_BYTES_DEFAULT = 2 << 30
REQUEST_BYTES_MIN = 1024
CERTIFICATE_YEARS_MAX = 100
REQUEST_BYTES_MAX = 16 << 20
"""A request is one entry of the log, held in memory by every member and sent to each."""
LOG_LEVELS = ("debug", "info", "warn", "error")


class ConfigError(Exception):
    """A configuration that cannot be served; one line that says what, where, and what to do."""


HISTORY_S_MIN = 1
_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART_OF_TIME = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_TIME = re.compile(rf"(?:{_PART_OF_TIME.pattern})+")


class Option(NamedTuple):
    """One option: its flag name without dashes, default text, reader of texts, and its help."""

    name: str
    default: str
    read: Callable[[str], Any]
    help: str

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper().replace("-", "_")


def _text(text: str) -> str:
    return text


def _name(text: str) -> str:
    if not text or "," in text or "=" in text or "/" in text:
        raise ValueError(f"{text!r} is no member name: it must not be empty or contain ',', '=' or '/'")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(_name(part.strip()) for part in text.split(","))


def _path(text: str) -> Path:
    if not text:
        raise ValueError("it is empty, and must be a file's path")
    return Path(text)


def _hosts(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise ValueError(f"{text!r} names nobody")
    return names


def _years(text: str) -> int:
    years = _positive(text)
    if years > CERTIFICATE_YEARS_MAX:
        raise ValueError(f"it must be at most {CERTIFICATE_YEARS_MAX} years")
    return years


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
    if number < 0:
        raise ValueError(f"{text} is negative")
    return number


def _positive(text: str) -> int:
    number = _count(text)
    if number == 0:
        raise ValueError("it must be at least 1")
    return number


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of: {', '.join(choices)}")
        return text

    return read


OPTIONS: tuple[Option, ...] = (
    Option("name", "default", _name, "Human-readable name of this member."),
    Option("data-dir", "", _text, "Data directory. [default: NAME.ratified]"),
    Option("listen-client-urls", "http://localhost:2379", parse_client_urls, "URLs to listen on for clients."),
    Option(
        "advertise-client-urls",
        "",
        parse_client_urls,
        "This member's client URLs as others should use them. [default: the listening ones but unix://]",
    ),
    Option("listen-peer-urls", "http://localhost:2380", parse_urls, "URLs to listen on for other members."),
    Option(
        "initial-advertise-peer-urls",
        "",
        parse_urls,
        "This member's peer URLs as others should use them. [default: as in --initial-cluster]",
    ),
    Option(
        "initial-cluster",
        "",
        parse_cluster,
        "All members of a new cluster: name=url,name=url,... [default: this member alone]",
    ),
    Option(
        "initial-cluster-state",
        "new",
        _one_of("new", "existing"),
        "'new' makes the data directory if there is none; 'existing' joins the cluster to which this member was added.",
    ),
    Option(
        "initial-absent",
        "",
        _names,
        "Members of a new cluster that are left out at its first start, and not let in later: name,...",
    ),
    Option(
        "initial-cluster-token",
        "etcd-cluster",
        _text,
        "Tells clusters apart: members of different tokens refuse each other.",
    ),
    Option(
        "engine",
        DEFAULT_ENGINE,
        _one_of(*ENGINES),
        f"The consensus protocol: {', '.join(ENGINES)}. The same on all members; fixed when a cluster is created.",
    ),
    Option(
        "snapshot-count",
        "0",
        _count,
        "Take a checkpoint after so many writes, however little the log has grown. 0: by the log's growth alone.",
    ),
    Option(
        "checkpoint-log-bytes",
        "268435456",
        _positive,
        "Take a checkpoint when the log has grown by so many bytes, or by what the last one holds.",
    ),
    Option(
        "snapshot-catchup-entries",
        "5000",
        _count,
        "Keep so many writes below the checkpoint for members that lack them. Who lacks more is sent a snapshot.",
    ),
    Option("heartbeat-interval", "100", _positive, "Milliseconds between two heartbeats of a leader."),
    Option("election-timeout", "1000", _positive, "Milliseconds without a leader before an election begins."),
    Option(
        "read-lease",
        "0",
        _count,
        "Milliseconds for which a leader answers reads alone: some three heartbeats, the same on all members. 0: it"
        " asks a majority at each read.",
    ),
    Option(
        "read-lease-kind",
        "clock",
        _one_of(*LeaseKind),
        "What a read-lease rests on. clock: members promise their leader to elect nobody else. log: who is elected next"
        " acknowledges no write for so long; the same on all members.",
    ),
    Option(
        "clock-drift",
        "10",
        _count,
        "Percent by which any member's clock may be fast or slow; with --read-lease reads are stale if it is more.",
    ),
    Option(
        "priority",
        "0",
        _count,
        "The member with the highest one is to lead: others hand it the lead when it has everything. 0 to 1000000.",
    ),
    Option(
        "quiescence",
        "true",
        _one_of("true", "false"),
        "Where nothing happens, members send each other no heartbeats and keep no time until something does.",
    ),
    Option("cert-file", "", _path, "This member's certificate, PEM, for https:// among --listen-client-urls."),
    Option("key-file", "", _path, "The key of --cert-file, PEM."),
    Option("trusted-ca-file", "", _path, "CA certificates, PEM: clients must have a certificate of one of them."),
    Option(
        "client-cert-auth",
        "false",
        _one_of("true", "false"),
        "Refuse clients without a certificate of --trusted-ca-file.",
    ),
    Option("client-crl-file", "", _path, "Clients' certificates that are revoked, PEM."),
    Option(
        "client-cert-allowed-hostname",
        "",
        _hosts,
        "Hosts, for one of which a client's certificate must be, by its alternative names: host,...",
    ),
    Option(
        "auto-tls", "false", _one_of("true", "false"), "Serve clients by a certificate that this member makes itself."
    ),
    Option("peer-cert-file", "", _path, "This member's certificate, PEM, for https:// among peer URLs."),
    Option("peer-key-file", "", _path, "The key of --peer-cert-file, PEM."),
    Option(
        "peer-trusted-ca-file", "", _path, "CA certificates, PEM: other members must have a certificate of one of them."
    ),
    Option(
        "peer-client-cert-auth",
        "false",
        _one_of("true", "false"),
        "Refuse members that connect without a certificate of --peer-trusted-ca-file.",
    ),
    Option("peer-crl-file", "", _path, "Members' certificates that are revoked, PEM."),
    Option(
        "peer-cert-allowed-cn",
        "",
        _hosts,
        "Common names, one of which another member's certificate must have: name,...",
    ),
    Option(
        "peer-cert-allowed-hostname",
        "",
        _hosts,
        "Hosts, for one of which it must be, by its alternative names: host,...",
    ),
    Option(
        "peer-auto-tls",
        "false",
        _one_of("true", "false"),
        "Encrypt between members by certificates that they make themselves, and that nobody verifies.",
    ),
    Option("self-signed-cert-validity", "1", _years, "Years for which a certificate that a member makes is valid."),
    Option("max-request-bytes", "1572864", _positive, "Largest client request, in bytes."),
    Option("quota-backend-bytes", "0", _count, "Refuse writes when the store is larger, in bytes. 0: 2 GiB."),
    Option(
        "auto-compaction-mode",
        "periodic",
        _one_of("periodic", "revision"),
        "What --auto-compaction-retention counts: time, or revisions.",
    ),
    Option(
        "auto-compaction-retention",
        "0",
        _text,
        "How much history is kept: hours, or a time such as 30m or 72h; or so many revisions. 0: all of it.",
    ),
    Option("log-level", "info", _one_of(*LOG_LEVELS), "Least important lines to log: debug, info, warn or error."),
)

BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How clients, or other members, are served by TLS."""

    cert_file: Path | None
    """None: this member makes a certificate itself."""
    key_file: Path | None
    trusted_ca_file: Path | None
    client_cert_auth: bool
    crl_file: Path | None
    allowed_common_names: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    validity_years: int


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One member's configuration, complete and checked."""

    name: str
    data_dir: Path
    listen_client_urls: tuple[Url, ...]
    advertise_client_urls: tuple[Url, ...]
    listen_peer_urls: tuple[Url, ...]
    initial_advertise_peer_urls: tuple[Url, ...]
    initial_cluster: dict[str, tuple[Url, ...]]
    initial_cluster_state: str
    initial_absent: tuple[str, ...]
    initial_cluster_token: str
    engine: str
    snapshot_count: int
    checkpoint_log_bytes: int
    snapshot_catchup_entries: int
    heartbeat_interval_ms: int
    election_timeout_ms: int
    read_lease_ms: int
    read_lease_kind: LeaseKind
    clock_drift_percent: int
    priority: int
    quiescence: bool
    client_tls: TlsOptions | None
    peer_tls: TlsOptions | None
    max_request_bytes: int
    quota_backend_bytes: int
    history_kept_s: float | None
    """How long history is kept; None: by revisions, or for ever."""
    history_kept_revisions: int | None
    log_level: str
    warnings: tuple[str, ...] = ()
    """What an operator should know, though it is no error."""


class _Found(NamedTuple):
    """A value and the place where it was found; None: nowhere, it is the default."""

    value: Any
    place: str | None


def load(flags: Mapping[str, str], environment: Mapping[str, str], file: Path | None) -> ServerConfig:
    """Put the configuration together; raises ``ConfigError``. ``flags`` holds only what was given."""
    from_file = {} if file is None else _read_file(file)
    found: dict[str, _Found] = {}
    for option in OPTIONS:
        if option.name in flags:
            found[option.name] = _read(option, flags[option.name], f"flag --{option.name}")
        elif environment.get(option.variable):
            found[option.name] = _read(option, environment[option.variable], f"variable {option.variable}")
        elif option.name in from_file:
            found[option.name] = _read(option, from_file[option.name], f"{option.name} in {file}")
        else:
            found[option.name] = _Found(option.read(option.default) if option.default else None, None)
    return _check(found, _unknown_variables(environment))


def _read(option: Option, text: str, place: str) -> _Found:
    try:
        return _Found(option.read(text), place)
    except ValueError as wrong:
        raise ConfigError(f"{place}: {wrong}") from wrong


def _read_file(file: Path) -> dict[str, str]:
    """The file's options as the texts that a flag would have."""
    try:
        with file.open("rb") as opened:
            content = tomllib.load(opened)
    except OSError as wrong:
        raise ConfigError(f"flag --config-file: cannot read {file}: {wrong.strerror}") from wrong
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{file} is not valid TOML: {wrong}") from wrong
    texts: dict[str, str] = {}
    for name, value in content.items():
        if name not in BY_NAME:
            raise ConfigError(f"{file}: unknown option {name!r}{_meant(name, list(BY_NAME))}")
        texts[name] = _file_text(file, name, value)
    return texts


def _file_text(file: Path, name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bool() if BY_NAME[name].default in ("true", "false"):
            return str(value).lower()
        case int() if not isinstance(value, bool):
            return str(value)
        case list() if value and all(isinstance(item, str) for item in value):
            return ",".join(value)
    raise ConfigError(f"{name} in {file} must be a string, a whole number or a list of strings")


def _meant(wrong: str, known: list[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _unknown_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    known = [option.variable for option in OPTIONS]
    return tuple(
        f"unknown variable {variable} is ignored{_meant(variable, known)}"
        for variable in sorted(environment)
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known and variable not in VARIABLES_ELSEWHERE
    )


def _check(found: dict[str, _Found], warnings: tuple[str, ...]) -> ServerConfig:
    """What concerns more than one option, and the defaults that depend on others."""
    value = {name: item.value for name, item in found.items()}
    _check_times(found)
    _check_lease(found)
    _check_sizes(found)
    kept_s, kept_revisions = _history(found)
    name = value["name"]
    advertised = value["initial-advertise-peer-urls"]
    cluster = value["initial-cluster"]
    if cluster is None:
        advertised = advertised or _advertised(found, "listen-peer-urls", "initial-advertise-peer-urls")
        cluster = {name: advertised}
    else:
        advertised = advertised or cluster.get(name)
        _check_cluster(found, cluster, advertised)
    return ServerConfig(
        name=name,
        data_dir=Path(value["data-dir"] or f"{name}.ratified"),
        listen_client_urls=value["listen-client-urls"],
        advertise_client_urls=value["advertise-client-urls"]
        or _advertised(found, "listen-client-urls", "advertise-client-urls"),
        listen_peer_urls=value["listen-peer-urls"],
        initial_advertise_peer_urls=advertised,
        initial_cluster=cluster,
        initial_cluster_state=value["initial-cluster-state"],
        initial_absent=value["initial-absent"] or (),
        initial_cluster_token=value["initial-cluster-token"],
        engine=value["engine"],
        snapshot_count=value["snapshot-count"],
        checkpoint_log_bytes=value["checkpoint-log-bytes"],
        snapshot_catchup_entries=value["snapshot-catchup-entries"],
        heartbeat_interval_ms=value["heartbeat-interval"],
        election_timeout_ms=value["election-timeout"],
        read_lease_ms=value["read-lease"],
        read_lease_kind=LeaseKind(value["read-lease-kind"]),
        clock_drift_percent=value["clock-drift"],
        priority=value["priority"],
        quiescence=value["quiescence"] == "true",
        client_tls=_tls(found, value["listen-client-urls"], _CLIENT_TLS),
        peer_tls=_tls(
            found, (*value["listen-peer-urls"], *(url for urls in cluster.values() for url in urls)), _PEER_TLS
        ),
        max_request_bytes=value["max-request-bytes"],
        quota_backend_bytes=value["quota-backend-bytes"] or QUOTA_BYTES_DEFAULT,
        history_kept_s=kept_s,
        history_kept_revisions=kept_revisions,
        log_level=value["log-level"],
        warnings=warnings,
    )


def _place(found: dict[str, _Found], *names: str) -> str:
    """Where the first of these that was given was found; else how one would give it."""
    return next((place for name in names if (place := found[name].place)), f"flag --{names[0]}")


def _check_times(found: dict[str, _Found]) -> None:
    heartbeat, election = found["heartbeat-interval"].value, found["election-timeout"].value
    place = _place(found, "election-timeout", "heartbeat-interval")
    if election < HEARTBEATS_PER_ELECTION_MIN * heartbeat:
        raise ConfigError(
            f"{place}: election-timeout ({election} ms) must be at least {HEARTBEATS_PER_ELECTION_MIN} times"
            f" heartbeat-interval ({heartbeat} ms)"
        )
    if election > ELECTION_TIMEOUT_MS_MAX:
        raise ConfigError(f"{place}: election-timeout ({election} ms) must be at most {ELECTION_TIMEOUT_MS_MAX} ms")


def _check_lease(found: dict[str, _Found]) -> None:
    """Long enough to be renewed in time, and no longer than a leader's followers wait anyway."""
    heartbeat, election = found["heartbeat-interval"].value, found["election-timeout"].value
    drift, lease = found["clock-drift"].value, found["read-lease"].value
    if drift > CLOCK_DRIFT_PERCENT_MAX:
        raise ConfigError(
            f"{_place(found, 'clock-drift')}: clock-drift ({drift} percent) must be at most {CLOCK_DRIFT_PERCENT_MAX};"
            " leave --read-lease at 0 where clocks are no better"
        )
    by_log = found["read-lease-kind"].value == LeaseKind.LOG
    if lease == 0:
        if by_log:
            raise ConfigError(
                f"{_place(found, 'read-lease-kind')}: read-lease-kind is 'log', and read-lease 0, so reads rest on no"
                " lease: say with --read-lease for how many milliseconds they do"
            )
        return
    place = _place(found, "read-lease")
    if lease > election:
        costs = "acknowledges no write before" if by_log else "comes no sooner than"
        raise ConfigError(
            f"{place}: read-lease ({lease} ms) must be at most election-timeout ({election} ms): who replaces a leader"
            f" that died {costs} its lease ends"
        )
    if by_log:
        return
    held_ms = lease * (100 - drift) // (100 + drift)
    if held_ms < HEARTBEATS_PER_LEASE_MIN * heartbeat:
        raise ConfigError(
            f"{place}: read-lease ({lease} ms, {held_ms} ms if clocks drift by {drift} percent) must last at least"
            f" {HEARTBEATS_PER_LEASE_MIN} times heartbeat-interval ({heartbeat} ms): each heartbeat renews it"
        )


class _TlsNames(NamedTuple):
    """The options about one kind of connection, and what they are about."""

    urls: str
    cert: str
    key: str
    ca: str
    auth: str
    crl: str
    allowed: tuple[str, ...]
    auto: str

    @property
    def all(self) -> tuple[str, ...]:
        return (self.cert, self.key, self.ca, self.auth, self.crl, *self.allowed, self.auto)


_CLIENT_TLS = _TlsNames(
    "listen-client-urls",
    "cert-file",
    "key-file",
    "trusted-ca-file",
    "client-cert-auth",
    "client-crl-file",
    ("client-cert-allowed-hostname",),
    "auto-tls",
)
_PEER_TLS = _TlsNames(
    "listen-peer-urls",
    "peer-cert-file",
    "peer-key-file",
    "peer-trusted-ca-file",
    "peer-client-cert-auth",
    "peer-crl-file",
    ("peer-cert-allowed-cn", "peer-cert-allowed-hostname"),
    "peer-auto-tls",
)


def _tls(found: dict[str, _Found], urls: Iterable[Url], names: _TlsNames) -> TlsOptions | None:
    """None: no URL of these needs it."""
    cert, key, ca = found[names.cert].value, found[names.key].value, found[names.ca].value
    auto, auth = found[names.auto].value == "true", found[names.auth].value == "true"
    allowed = any(found[option].value for option in names.allowed)
    secure = [url for url in urls if url.tls]
    if not secure:
        if given := [name for name in names.all if found[name].place is not None and found[name].value != "false"]:
            raise ConfigError(
                f"{_place(found, given[0])}: it is for https:// URLs, and {names.urls} has none: write https:// there,"
                f" or leave {given[0]} out"
            )
        return None
    if (cert is None) != (key is None):
        raise ConfigError(f"{_place(found, names.cert, names.key)}: --{names.cert} and --{names.key} go together")
    if cert is None and not auto:
        raise ConfigError(
            f"{_place_of(found, names.urls, secure[0])}: {secure[0]} needs --{names.cert} and --{names.key}, or"
            f" --{names.auto}; `ratified pki init` makes certificates"
        )
    if cert is not None and auto:
        raise ConfigError(f"{_place(found, names.auto)}: --{names.auto} makes a certificate, and --{names.cert} is one")
    if (auth or allowed or found[names.crl].value is not None) and ca is None:
        needs = next(name for name in (names.auth, names.crl, *names.allowed) if found[name].place is not None)
        raise ConfigError(f"{_place(found, needs)}: it needs --{names.ca}, whose certificates are to be believed")
    if names is _PEER_TLS and auto and ca is not None:
        raise ConfigError(
            f"{_place(found, names.ca)}: of a certificate that a member has made itself no CA knows: leave --{names.ca}"
            f" out, or --{names.auto}"
        )
    if len([option for option in names.allowed if found[option].value]) > 1:
        raise ConfigError(f"{_place(found, *names.allowed)}: give one of {_flags(names.allowed)}, not both")
    return TlsOptions(
        cert_file=cert,
        key_file=key,
        trusted_ca_file=ca,
        client_cert_auth=auth or ca is not None,
        crl_file=found[names.crl].value,
        allowed_common_names=found["peer-cert-allowed-cn"].value or () if names is _PEER_TLS else (),
        allowed_hosts=found[names.allowed[-1]].value or (),
        validity_years=found["self-signed-cert-validity"].value,
    )


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _place_of(found: dict[str, _Found], urls: str, url: Url) -> str:
    """Where this URL was found: among these, or in the cluster."""
    return _place(found, urls if url in found[urls].value else "initial-cluster")


def _history(found: dict[str, _Found]) -> tuple[float | None, int | None]:
    """How long history is kept, and how many revisions of it; None: that does not count."""
    text, place = found["auto-compaction-retention"].value, _place(found, "auto-compaction-retention")
    try:
        if found["auto-compaction-mode"].value == "revision":
            return None, _count(text) or None
        return _hours_or_time_s(text) or None, None
    except ValueError as wrong:
        raise ConfigError(f"{place}: {wrong}") from wrong


def _hours_or_time_s(text: str) -> float:
    if text.isdecimal():
        return int(text) * _UNITS_S["h"]
    if not _TIME.fullmatch(text):
        raise ValueError(f"{text!r} is no number of hours, and no time such as 30m or 72h30m")
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART_OF_TIME.findall(text))
    if 0 < seconds < HISTORY_S_MIN:
        raise ValueError(f"{text!r} is shorter than {HISTORY_S_MIN} s")
    return seconds


def _check_sizes(found: dict[str, _Found]) -> None:
    if (size := found["max-request-bytes"].value) < REQUEST_BYTES_MIN:
        raise ConfigError(
            f"{_place(found, 'max-request-bytes')}: max-request-bytes ({size}) must be at least {REQUEST_BYTES_MIN}"
        )
    if size > REQUEST_BYTES_MAX:
        raise ConfigError(
            f"{_place(found, 'max-request-bytes')}: max-request-bytes ({size}) must be at most {REQUEST_BYTES_MAX}"
        )
    if (size := found["checkpoint-log-bytes"].value) < CHECKPOINT_LOG_BYTES_MIN:
        raise ConfigError(
            f"{_place(found, 'checkpoint-log-bytes')}: checkpoint-log-bytes ({size}) must be at least "
            f"{CHECKPOINT_LOG_BYTES_MIN}"
        )


def _advertised(found: dict[str, _Found], listen: str, advertise: str) -> tuple[Url, ...]:
    """The listening URLs, where they can be told to others: those of other machines too, unless there are none."""
    listening: tuple[Url, ...] = found[listen].value
    urls = tuple(url for url in listening if not url.path) or listening
    for url in urls:
        if url.wildcard:
            raise ConfigError(
                f"{_place(found, listen)}: {url} stands for all interfaces, others cannot use it; say --{advertise} too"
            )
    return urls


def _check_cluster(
    found: dict[str, _Found], cluster: dict[str, tuple[Url, ...]], advertised: tuple[Url, ...] | None
) -> None:
    name, place = found["name"].value, _place(found, "initial-cluster")
    if advertised is None or name not in cluster:
        raise ConfigError(f"{place}: this member's name {name!r} is not among {', '.join(cluster)}; see --name")
    if sorted(map(str, cluster[name])) != sorted(map(str, advertised)):
        raise ConfigError(
            f"{place}: it gives {name!r} the peer URLs {_listed(cluster[name])},"
            f" but --initial-advertise-peer-urls says {_listed(advertised)}"
        )


def _listed(urls: tuple[Url, ...]) -> str:
    return ",".join(map(str, urls))
