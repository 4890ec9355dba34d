"""One member's configuration: what concerns more than one option, and the defaults that depend on others.

``options`` says which options there are, ``sources`` where their values come from. Every wrong value ends in one
``ConfigError`` that names the option and the place where the value was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ratified.api.jwt_options import JwtOptions
from ratified.runtime import LeaseKind
from ratified.server.config_file import read_file
from ratified.server.discovery import Discovery
from ratified.server.readers import count, hours_or_time_s
from ratified.server.sources import ConfigError, Found, Sources, gather
from ratified.server.urls import Url

HEARTBEATS_PER_ELECTION_MIN = 5
ELECTION_TIMEOUT_MS_MAX = 50_000
HEARTBEATS_PER_LEASE_MIN = 2
CLOCK_DRIFT_PERCENT_MAX = 50
CHECKPOINT_LOG_BYTES_MIN = 1 << 20
QUOTA_BYTES_DEFAULT = 2 << 30
REQUEST_BYTES_MIN = 1024
REQUEST_BYTES_MAX = 16 << 20
"""A request is one entry of the log, held in memory by every member and sent to each."""
TXN_OPS_MAX = 10_000
"""Comparisons and operations on whatever branch have this limit in all."""
HISTORY_S_MIN = 1
KEEPALIVE_S_MIN = 1
WATCH_PROGRESS_S_MIN = 0.1


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
    client_cert_file: Path | None = None
    """What to connect to others by; None: ``cert_file``."""
    client_key_file: Path | None = None
    cipher_suites: tuple[str, ...] | None = None
    """OpenSSL's names of those for TLS 1.2; empty: none, so TLS 1.3 alone is left; None: OpenSSL's choice."""
    min_version: str = "TLS1.2"
    max_version: str | None = None


class TracingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where spans of calls go."""

    address: str
    service_name: str
    instance_id: str
    """Empty: the member's name."""
    samples_per_million: int


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One member's configuration, complete and checked."""

    name: str
    data_dir: Path
    listen_client_urls: tuple[Url, ...]
    listen_client_http_urls: tuple[Url, ...]
    """Empty: what goes by HTTP is served at the other ones."""
    listen_metrics_urls: tuple[Url, ...]
    has_gateway: bool
    host_whitelist: frozenset[str]
    """Empty: any host."""
    cors: frozenset[str]
    enable_pprof: bool
    advertise_client_urls: tuple[Url, ...]
    listen_peer_urls: tuple[Url, ...]
    initial_advertise_peer_urls: tuple[Url, ...]
    initial_cluster: dict[str, tuple[Url, ...]]
    """Empty where ``discovery`` says who the members are."""
    discovery: Discovery | None
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
    puts_together: bool
    client_tls: TlsOptions | None
    peer_tls: TlsOptions | None
    certificates_name_users: bool
    """A client without a token is the user whom its certificate names."""
    auth_token: JwtOptions | None
    """None: tokens are random."""
    auth_token_ttl_s: int
    bcrypt_cost: int
    max_request_bytes: int
    max_txn_ops: int
    max_concurrent_streams: int
    keepalive_interval_s: float
    watch_progress_s: float
    """How long a connection is silent before the client is asked; 0: it is not asked."""
    keepalive_timeout_s: float
    reuse_port: bool
    quota_backend_bytes: int
    checks_at_start: bool
    """Is this member's data compared with the others' before it serves?"""
    check_every_s: float
    """How often all members' data is compared while this one leads; 0: never."""
    history_kept_s: float | None
    """How long history is kept; None: by revisions, or for ever."""
    history_kept_revisions: int | None
    log_level: str
    log_format: str
    log_outputs: tuple[str, ...]
    slow_s: float
    """Calls that take longer are logged; 0: none is."""
    tracing: TracingOptions | None
    """None: no call is traced."""
    warnings: tuple[str, ...] = ()
    """What an operator should know, though it is no error."""


def load(flags: Mapping[str, str], environment: Mapping[str, str], file: Path | None) -> ServerConfig:
    """Put the configuration together; raises ``ConfigError``. ``flags`` holds only what was given."""
    found, warnings = gather(Sources(flags, environment, {} if file is None else read_file(file)))
    return _check(found, warnings)


def _check(found: dict[str, Found], warnings: tuple[str, ...]) -> ServerConfig:
    """What concerns more than one option, and the defaults that depend on others."""
    value = {name: item.value for name, item in found.items()}
    _check_times(found)
    _check_lease(found)
    _check_sizes(found)
    _check_keepalive(found)
    _check_watch_progress(found)
    _check_tls_versions(found)
    kept_s, kept_revisions = _history(found)
    name = value["name"]
    advertised = value["initial-advertise-peer-urls"]
    cluster = value["initial-cluster"]
    discovery = _discovery(found)
    if cluster is None:
        advertised = advertised or _advertised(found, "listen-peer-urls", "initial-advertise-peer-urls")
        cluster = {name: advertised} if discovery is None else {}
    else:
        advertised = advertised or cluster.get(name)
        _check_cluster(found, cluster, advertised)
    return ServerConfig(
        name=name,
        data_dir=Path(value["data-dir"] or f"{name}.ratified"),
        listen_client_urls=value["listen-client-urls"],
        listen_client_http_urls=value["listen-client-http-urls"] or (),
        listen_metrics_urls=value["listen-metrics-urls"] or (),
        has_gateway=value["enable-grpc-gateway"],
        host_whitelist=value["host-whitelist"],
        cors=value["cors"] or frozenset(),
        enable_pprof=value["enable-pprof"],
        advertise_client_urls=value["advertise-client-urls"]
        or _advertised(found, "listen-client-urls", "advertise-client-urls"),
        listen_peer_urls=value["listen-peer-urls"],
        initial_advertise_peer_urls=advertised,
        initial_cluster=cluster,
        discovery=discovery,
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
        quiescence=value["quiescence"],
        puts_together=value["puts-together"],
        client_tls=_tls(found, (), _CLIENT_TLS),
        peer_tls=_tls(found, [*advertised, *(url for urls in cluster.values() for url in urls)], _PEER_TLS),
        certificates_name_users=value["client-cert-auth"],
        auth_token=value["auth-token"],
        auth_token_ttl_s=value["auth-token-ttl"],
        bcrypt_cost=value["bcrypt-cost"],
        max_request_bytes=value["max-request-bytes"],
        max_txn_ops=value["max-txn-ops"],
        max_concurrent_streams=value["max-concurrent-streams"],
        watch_progress_s=value["watch-progress-notify-interval"],
        keepalive_interval_s=value["grpc-keepalive-interval"] if value["grpc-keepalive-timeout"] else 0.0,
        keepalive_timeout_s=value["grpc-keepalive-timeout"],
        reuse_port=value["socket-reuse-port"],
        quota_backend_bytes=value["quota-backend-bytes"] or QUOTA_BYTES_DEFAULT,
        checks_at_start=value["experimental-initial-corrupt-check"],
        check_every_s=value["corrupt-check-time"],
        history_kept_s=kept_s,
        history_kept_revisions=kept_revisions,
        log_level=value["log-level"],
        log_format=value["log-format"],
        log_outputs=value["log-outputs"],
        slow_s=value["warning-unary-request-duration"],
        tracing=_tracing(value),
        warnings=warnings,
    )


def _place(found: dict[str, Found], *names: str) -> str:
    """Where the first of these that was given was found; else how one would give it."""
    return next((place for name in names if (place := found[name].place)), f"flag --{names[0]}")


def _check_times(found: dict[str, Found]) -> None:
    heartbeat, election = found["heartbeat-interval"].value, found["election-timeout"].value
    place = _place(found, "election-timeout", "heartbeat-interval")
    if election < HEARTBEATS_PER_ELECTION_MIN * heartbeat:
        raise ConfigError(
            f"{place}: election-timeout ({election} ms) must be at least {HEARTBEATS_PER_ELECTION_MIN} times"
            f" heartbeat-interval ({heartbeat} ms)"
        )
    if election > ELECTION_TIMEOUT_MS_MAX:
        raise ConfigError(f"{place}: election-timeout ({election} ms) must be at most {ELECTION_TIMEOUT_MS_MAX} ms")


def _check_lease(found: dict[str, Found]) -> None:
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

    urls: tuple[str, ...]
    cert: str
    key: str
    ca: str
    auth: str
    crl: str
    allowed: tuple[str, ...]
    auto: str
    client: tuple[str, ...] = ()
    """Certificate and key to connect by, where that may be another one."""

    @property
    def all(self) -> tuple[str, ...]:
        return (self.cert, self.key, self.ca, self.auth, self.crl, *self.allowed, self.auto, *self.client)


_CLIENT_TLS = _TlsNames(
    ("listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"),
    "cert-file",
    "key-file",
    "trusted-ca-file",
    "client-cert-auth",
    "client-crl-file",
    ("client-cert-allowed-hostname",),
    "auto-tls",
)
_PEER_TLS = _TlsNames(
    ("listen-peer-urls",),
    "peer-cert-file",
    "peer-key-file",
    "peer-trusted-ca-file",
    "peer-client-cert-auth",
    "peer-crl-file",
    ("peer-cert-allowed-cn", "peer-cert-allowed-hostname"),
    "peer-auto-tls",
    ("peer-client-cert-file", "peer-client-key-file"),
)


def _tls(found: dict[str, Found], others: Sequence[Url], names: _TlsNames) -> TlsOptions | None:
    """None: no URL that is listened on, and none of the others, needs it."""
    cert, key, ca = found[names.cert].value, found[names.key].value, found[names.ca].value
    auto, auth = found[names.auto].value, found[names.auth].value
    allowed = any(found[option].value for option in names.allowed)
    listening = [url for name in names.urls for url in found[name].value or ()]
    secure = [url for url in (*listening, *others) if url.tls]
    if not secure:
        if given := [name for name in names.all if found[name].place is not None and found[name].value is not False]:
            raise ConfigError(
                f"{_place(found, given[0])}: it is for https:// URLs, and {names.urls[0]} has none: write https://"
                f" there, or leave {given[0]} out"
            )
        return None
    if (cert is None) != (key is None):
        raise ConfigError(f"{_place(found, names.cert, names.key)}: --{names.cert} and --{names.key} go together")
    client_cert, client_key = (found[name].value for name in names.client) if names.client else (None, None)
    if (client_cert is None) != (client_key is None):
        raise ConfigError(f"{_place(found, *names.client)}: {_flags(names.client)} go together")
    if client_cert is not None and cert is None:
        raise ConfigError(f"{_place(found, *names.client)}: it goes beside --{names.cert}, which members listen by")
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
        client_cert_file=client_cert,
        client_key_file=client_key,
        cipher_suites=found["cipher-suites"].value,
        min_version=found["tls-min-version"].value,
        max_version=found["tls-max-version"].value,
    )


def _tracing(value: Mapping[str, Any]) -> TracingOptions | None:
    if not value["enable-distributed-tracing"]:
        return None
    return TracingOptions(
        address=value["distributed-tracing-address"],
        service_name=value["distributed-tracing-service-name"],
        instance_id=value["distributed-tracing-instance-id"],
        samples_per_million=value["distributed-tracing-sampling-rate"],
    )


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _place_of(found: dict[str, Found], options: Sequence[str], url: Url) -> str:
    """Where this URL was found: among those of these options, or in the cluster."""
    return _place(found, next((name for name in options if url in (found[name].value or ())), "initial-cluster"))


def _history(found: dict[str, Found]) -> tuple[float | None, int | None]:
    """How long history is kept, and how many revisions of it; None: that does not count."""
    text, place = found["auto-compaction-retention"].value, _place(found, "auto-compaction-retention")
    try:
        if found["auto-compaction-mode"].value == "revision":
            return None, count(text) or None
        kept_s = hours_or_time_s(text)
        if 0 < kept_s < HISTORY_S_MIN:
            raise ValueError(f"{text!r} is shorter than {HISTORY_S_MIN} s")
        return kept_s or None, None
    except ValueError as wrong:
        raise ConfigError(f"{place}: {wrong}") from wrong


def _check_sizes(found: dict[str, Found]) -> None:
    if (size := found["max-request-bytes"].value) < REQUEST_BYTES_MIN:
        raise ConfigError(
            f"{_place(found, 'max-request-bytes')}: max-request-bytes ({size}) must be at least {REQUEST_BYTES_MIN}"
        )
    if size > REQUEST_BYTES_MAX:
        raise ConfigError(
            f"{_place(found, 'max-request-bytes')}: max-request-bytes ({size}) must be at most {REQUEST_BYTES_MAX}"
        )
    if (ops := found["max-txn-ops"].value) > TXN_OPS_MAX:
        raise ConfigError(f"{_place(found, 'max-txn-ops')}: max-txn-ops ({ops}) must be at most {TXN_OPS_MAX}")
    if (size := found["checkpoint-log-bytes"].value) < CHECKPOINT_LOG_BYTES_MIN:
        raise ConfigError(
            f"{_place(found, 'checkpoint-log-bytes')}: checkpoint-log-bytes ({size}) must be at least "
            f"{CHECKPOINT_LOG_BYTES_MIN}"
        )


def _check_keepalive(found: dict[str, Found]) -> None:
    for name in ("grpc-keepalive-interval", "grpc-keepalive-timeout"):
        if 0 < found[name].value < KEEPALIVE_S_MIN:
            raise ConfigError(f"{_place(found, name)}: it must be at least {KEEPALIVE_S_MIN}s, or 0")


def _check_watch_progress(found: dict[str, Found]) -> None:
    name = "watch-progress-notify-interval"
    if found[name].value < WATCH_PROGRESS_S_MIN:
        raise ConfigError(f"{_place(found, name)}: it must be at least {WATCH_PROGRESS_S_MIN * 1000:.0f}ms")


def _check_tls_versions(found: dict[str, Found]) -> None:
    least, most = found["tls-min-version"].value, found["tls-max-version"].value
    if most is not None and most < least:
        raise ConfigError(
            f"{_place(found, 'tls-max-version', 'tls-min-version')}: tls-max-version ({most}) must not be older than"
            f" tls-min-version ({least})"
        )
    suites = found["cipher-suites"].value
    if suites is not None and least > "TLS1.2":
        raise ConfigError(
            f"{_place(found, 'cipher-suites')}: cipher suites are chosen for TLS 1.2, and tls-min-version is {least}:"
            " leave one of them out"
        )
    if suites == () and most == "TLS1.2":
        raise ConfigError(
            f"{_place(found, 'cipher-suites')}: these are of TLS 1.3, and tls-max-version is {most}: add one of TLS 1.2"
        )


def _advertised(found: dict[str, Found], listen: str, advertise: str) -> tuple[Url, ...]:
    """The listening URLs, where they can be told to others: those of other machines too, unless there are none."""
    listening: tuple[Url, ...] = found[listen].value
    urls = tuple(url for url in listening if not url.path) or listening
    for url in urls:
        if url.wildcard:
            raise ConfigError(
                f"{_place(found, listen)}: {url} stands for all interfaces, others cannot use it; say --{advertise} too"
            )
    return urls


def _discovery(found: dict[str, Found]) -> Discovery | None:
    """None: the configuration says itself who the members are."""
    domain, suffix = found["discovery-srv"].value, found["discovery-srv-name"].value
    if domain is None:
        if suffix is not None:
            raise ConfigError(
                f"{_place(found, 'discovery-srv-name')}: it is about the records of --discovery-srv: give that too"
            )
        return None
    if found["initial-cluster"].value is not None:
        raise ConfigError(
            f"{_place(found, 'discovery-srv')}: the members are named by --initial-cluster already: give one of the two"
        )
    return Discovery(domain=domain, suffix=suffix or "")


def _check_cluster(
    found: dict[str, Found], cluster: dict[str, tuple[Url, ...]], advertised: tuple[Url, ...] | None
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
