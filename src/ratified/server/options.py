"""The table of options: each is said here once, and nowhere else.

The command line, the variables (``--data-dir`` is ``RATIFIED_DATA_DIR``, and ``ETCD_DATA_DIR``), the files
(``data-dir``) and the help come from it. Names, units and meanings are etcd's where etcd has the option:
``heartbeat-interval`` and ``election-timeout`` are milliseconds, sizes are bytes. What else etcd has is in
``etcd_flags``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.runtime import LeaseKind
from ratified.server.auth_token import SIMPLE, auth_token
from ratified.server.cipher_suites import TLS_VERSIONS, cipher_suites
from ratified.server.logs import FORMATS
from ratified.server.readers import (
    bcrypt_cost,
    boolean,
    count,
    domain,
    hosts_or_all,
    log_outputs,
    member_name,
    member_names,
    names,
    one_of,
    origins,
    path,
    positive,
    text,
    time_s,
    years,
)
from ratified.server.urls import parse_client_urls, parse_cluster, parse_urls

LOG_LEVELS = ("debug", "info", "warn", "error", "panic", "fatal")
"""The last two, which etcd has, are one here: lines after which the process ends."""


class Option(NamedTuple):
    """One option: its flag name without dashes, default text, reader of texts, and its help."""

    name: str
    default: str
    read: Callable[[str], Any]
    help: str
    aliases: tuple[str, ...] = ()
    """Other names that versions of etcd have for it."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)

    @property
    def is_boolean(self) -> bool:
        """Its flag may stand alone, and then says yes."""
        return self.read is boolean


PANELS: Mapping[str, tuple[Option, ...]] = {
    "Member": (
        Option("name", "default", member_name, "Human-readable name of this member."),
        Option("data-dir", "", text, "Data directory. [default: NAME.ratified]"),
        Option("listen-client-urls", "http://localhost:2379", parse_client_urls, "URLs to listen on for clients."),
        Option(
            "listen-client-http-urls",
            "",
            parse_client_urls,
            "URLs to listen on for calls as JSON and for pages. With it --listen-client-urls takes gRPC alone.",
        ),
        Option(
            "listen-metrics-urls",
            "",
            parse_client_urls,
            "URLs to listen on for the pages about metrics and health alone.",
        ),
        Option("enable-grpc-gateway", "true", boolean, "Serve calls as JSON, under /v3/."),
        Option("listen-peer-urls", "http://localhost:2380", parse_urls, "URLs to listen on for other members."),
        Option(
            "snapshot-count",
            "0",
            count,
            "Take a checkpoint after so many writes, however little the log has grown. 0: by the log's growth alone.",
        ),
        Option(
            "checkpoint-log-bytes",
            "268435456",
            positive,
            "Take a checkpoint when the log has grown by so many bytes, or by what the last one holds.",
        ),
        Option(
            "snapshot-catchup-entries",
            "5000",
            count,
            "Keep so many writes below the checkpoint for members that lack them. Who lacks more is sent a snapshot.",
            ("experimental-snapshot-catchup-entries",),
        ),
        Option("heartbeat-interval", "100", positive, "Milliseconds between two heartbeats of a leader."),
        Option("election-timeout", "1000", positive, "Milliseconds without a leader before an election begins."),
        Option(
            "read-lease",
            "0",
            count,
            "Milliseconds for which a leader answers reads alone: some three heartbeats, the same on all members. 0: it"
            " asks a majority at each read.",
        ),
        Option(
            "read-lease-kind",
            "clock",
            one_of(*LeaseKind),
            "What a read-lease rests on. clock: members promise their leader to elect nobody else. log: who is elected"
            " next acknowledges no write for so long; the same on all members.",
        ),
        Option(
            "clock-drift",
            "10",
            count,
            "Percent by which any member's clock may be fast or slow; with --read-lease reads are stale if it is more.",
        ),
        Option(
            "priority",
            "0",
            count,
            "The member with the highest one is to lead: others hand it the lead when it has everything. 0 to 1000000.",
        ),
        Option(
            "quiescence",
            "true",
            boolean,
            "Where nothing happens, members send each other no heartbeats and keep no time until something does.",
        ),
        Option(
            "puts-together",
            "true",
            boolean,
            "Have puts that come together be one entry of the log. false: an earlier version can go on from it.",
        ),
        Option("quota-backend-bytes", "0", count, "Refuse writes when the store is larger, in bytes. 0: 2 GiB."),
        Option("max-request-bytes", "1572864", positive, "Largest client request, in bytes."),
        Option("max-txn-ops", "128", positive, "Most comparisons, or operations on one branch, of a transaction."),
        Option("max-concurrent-streams", "4096", positive, "Most calls that are open at a time on one connection."),
        Option(
            "grpc-keepalive-interval",
            "30s",
            time_s,
            "How long a connection of HTTP/2 is silent before the client is asked whether it is there. 0: it is not.",
        ),
        Option(
            "grpc-keepalive-timeout",
            "30s",
            time_s,
            "How long it then has for an answer before its connection is closed. 0: it is not asked.",
        ),
        Option(
            "watch-progress-notify-interval",
            "10m",
            time_s,
            "How often watches that want to be told how far they have come are told, while nothing else is. At least"
            " 100ms.",
            ("experimental-watch-progress-notify-interval",),
        ),
        Option(
            "experimental-initial-corrupt-check",
            "false",
            boolean,
            "At the start compare this member's data with the others', and do not serve where it differs.",
        ),
        Option(
            "corrupt-check-time",
            "0s",
            time_s,
            "How often the member that leads compares all members' data, reading all of it. 0: never.",
            ("experimental-corrupt-check-time",),
        ),
        Option(
            "socket-reuse-port",
            "false",
            boolean,
            "Listen with SO_REUSEPORT: other processes of the same user may listen on the same ports.",
        ),
    ),
    "Clustering": (
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
            "discovery-srv",
            "",
            domain,
            "Domain whose SRV records name the members of a new cluster, instead of --initial-cluster.",
        ),
        Option(
            "discovery-srv-name",
            "",
            domain,
            "What follows in the records' names: _etcd-server-NAME._tcp and _etcd-server-ssl-NAME._tcp.",
        ),
        Option(
            "initial-cluster-state",
            "new",
            one_of("new", "existing"),
            "'new' makes the data directory if there is none; 'existing' joins the cluster to which this member was"
            " added.",
        ),
        Option(
            "initial-absent",
            "",
            member_names,
            "Members of a new cluster that are left out at its first start, and not let in later: name,...",
        ),
        Option(
            "initial-cluster-token",
            "etcd-cluster",
            text,
            "Tells clusters apart: members of different tokens refuse each other.",
        ),
        Option(
            "advertise-client-urls",
            "",
            parse_client_urls,
            "This member's client URLs as others should use them. [default: the listening ones but unix://]",
        ),
        Option(
            "engine",
            DEFAULT_ENGINE,
            one_of(*ENGINES),
            f"The consensus protocol: {', '.join(ENGINES)}. The same on all members; fixed when a cluster is created.",
        ),
        Option(
            "auto-compaction-mode",
            "periodic",
            one_of("periodic", "revision"),
            "What --auto-compaction-retention counts: time, or revisions.",
        ),
        Option(
            "auto-compaction-retention",
            "0",
            text,
            "How much history is kept: hours, or a time such as 30m or 72h; or so many revisions. 0: all of it.",
        ),
    ),
    "Security": (
        Option("cert-file", "", path, "This member's certificate, PEM, for https:// among --listen-client-urls."),
        Option("key-file", "", path, "The key of --cert-file, PEM."),
        Option("trusted-ca-file", "", path, "CA certificates, PEM: clients must have a certificate of one of them."),
        Option(
            "client-cert-auth",
            "false",
            boolean,
            "Refuse clients without a certificate of --trusted-ca-file.",
        ),
        Option("client-crl-file", "", path, "Clients' certificates that are revoked, PEM."),
        Option(
            "client-cert-allowed-hostname",
            "",
            names,
            "Hosts, for one of which a client's certificate must be, by its alternative names: host,...",
        ),
        Option("auto-tls", "false", boolean, "Serve clients by a certificate that this member makes itself."),
        Option("peer-cert-file", "", path, "This member's certificate, PEM, for https:// among peer URLs."),
        Option("peer-key-file", "", path, "The key of --peer-cert-file, PEM."),
        Option(
            "peer-trusted-ca-file",
            "",
            path,
            "CA certificates, PEM: other members must have a certificate of one of them.",
        ),
        Option(
            "peer-client-cert-auth",
            "false",
            boolean,
            "Refuse members that connect without a certificate of --peer-trusted-ca-file.",
        ),
        Option("peer-crl-file", "", path, "Members' certificates that are revoked, PEM."),
        Option(
            "peer-cert-allowed-cn",
            "",
            names,
            "Common names, one of which another member's certificate must have: name,...",
        ),
        Option(
            "peer-cert-allowed-hostname",
            "",
            names,
            "Hosts, for one of which it must be, by its alternative names: host,...",
        ),
        Option(
            "peer-auto-tls",
            "false",
            boolean,
            "Encrypt between members by certificates that they make themselves, and that nobody verifies.",
        ),
        Option(
            "peer-client-cert-file",
            "",
            path,
            "Another certificate, PEM, to connect to members by. [default: --peer-cert-file]",
        ),
        Option("peer-client-key-file", "", path, "The key of --peer-client-cert-file, PEM."),
        Option(
            "cipher-suites",
            "",
            cipher_suites,
            "Cipher suites of TLS 1.2, by their names at IANA. TLS 1.3 has its own, all of which are good."
            " [default: OpenSSL's]",
        ),
        Option("tls-min-version", "TLS1.2", one_of(*TLS_VERSIONS), "Oldest version of TLS: TLS1.2 or TLS1.3."),
        Option("tls-max-version", "", one_of(*TLS_VERSIONS), "Newest version of TLS. [default: TLS1.3]"),
        Option(
            "host-whitelist",
            "*",
            hosts_or_all,
            "Hosts for which requests by HTTP without TLS are answered: host,... Other names are a browser's mistake.",
        ),
        Option(
            "cors",
            "",
            origins,
            "Origins whose pages may read answers: https://dashboard.example,... or *. [default: none]",
        ),
        Option("self-signed-cert-validity", "1", years, "Years for which a certificate that a member makes is valid."),
    ),
    "Auth": (
        Option(
            "auth-token",
            SIMPLE,
            auth_token,
            "How clients show who they are once they have said their password: simple, by what members remember; or "
            "jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=5m. The same on all members.",
        ),
        Option("auth-token-ttl", "300", positive, "Seconds after which a simple token ends that is not used."),
        Option(
            "bcrypt-cost",
            "10",
            bcrypt_cost,
            "How long it takes to try a password, from 4 to 31; one more doubles it.",
        ),
    ),
    "Profiling": (
        Option(
            "enable-pprof", "false", boolean, "Serve /debug/pprof/: what this process does, and where its time goes."
        ),
    ),
    "Logging": (
        Option(
            "log-level",
            "info",
            one_of(*LOG_LEVELS),
            "Least important lines to log: debug, info, warn, error, or panic or fatal.",
        ),
        Option("log-format", "console", one_of(*FORMATS), "Lines for people (console), or objects of JSON (json)."),
        Option(
            "log-outputs",
            "default",
            log_outputs,
            "Where the log goes: stderr (default), stdout, files, or several: a,b.",
            ("log-output",),
        ),
        Option(
            "warning-unary-request-duration",
            "300ms",
            time_s,
            "Log calls that take longer, such as 300ms or 2s, and what they waited for. 0: none.",
            ("experimental-warning-unary-request-duration",),
        ),
        Option(
            "enable-distributed-tracing",
            "false",
            boolean,
            "Send spans of calls to a collector of OpenTelemetry; needs `pip install ratified[otel]`.",
            ("experimental-enable-distributed-tracing",),
        ),
        Option(
            "distributed-tracing-address",
            "localhost:4317",
            text,
            "Where the collector takes OTLP by gRPC.",
            ("experimental-distributed-tracing-address",),
        ),
        Option(
            "distributed-tracing-service-name",
            "ratified",
            text,
            "The service's name in traces.",
            ("experimental-distributed-tracing-service-name",),
        ),
        Option(
            "distributed-tracing-instance-id",
            "",
            text,
            "This member's name in traces. [default: NAME]",
            ("experimental-distributed-tracing-instance-id",),
        ),
        Option(
            "distributed-tracing-sampling-rate",
            "0",
            count,
            "Of a million calls so many are traced, beside those whose client says so.",
            ("experimental-distributed-tracing-sampling-rate",),
        ),
    ),
}
"""By the heading of the help under which they stand."""

OPTIONS: tuple[Option, ...] = tuple(option for panel in PANELS.values() for option in panel)
NAMES: Mapping[str, Option] = {name: option for option in OPTIONS for name in option.names}
