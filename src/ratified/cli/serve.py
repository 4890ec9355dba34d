"""``ratified serve``: one member, in the foreground."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from ratified.cli.failure import CommandFailed
from ratified.server.config import BY_NAME, OPTIONS, ConfigError, load


def _flag(name: str) -> Any:
    option = BY_NAME[name]
    default = f" [default: {option.default}]" if option.default else ""
    return typer.Option(None, f"--{name}", help=option.help + default, show_default=False)


def with_values(arguments: list[str]) -> list[str]:
    """Arguments of ``serve`` in which a flag of yes or no that stands alone says yes, as etcd's do."""
    alone = {f"--{option.name}" for option in OPTIONS if option.default in ("true", "false")}
    following = [*arguments[1:], ""]
    return [
        f"{argument}=true" if argument in alone and after not in ("true", "false") else argument
        for argument, after in zip(arguments, following, strict=True)
    ]


CONFIG_FILE = typer.Option(
    None, "--config-file", help="TOML file with options by their flag names.", envvar="RATIFIED_CONFIG_FILE"
)


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    name: str | None = _flag("name"),
    data_dir: str | None = _flag("data-dir"),
    listen_client_urls: str | None = _flag("listen-client-urls"),
    advertise_client_urls: str | None = _flag("advertise-client-urls"),
    listen_peer_urls: str | None = _flag("listen-peer-urls"),
    initial_advertise_peer_urls: str | None = _flag("initial-advertise-peer-urls"),
    initial_cluster: str | None = _flag("initial-cluster"),
    initial_cluster_state: str | None = _flag("initial-cluster-state"),
    initial_cluster_token: str | None = _flag("initial-cluster-token"),
    initial_absent: str | None = _flag("initial-absent"),
    engine: str | None = _flag("engine"),
    snapshot_count: str | None = _flag("snapshot-count"),
    checkpoint_log_bytes: str | None = _flag("checkpoint-log-bytes"),
    snapshot_catchup_entries: str | None = _flag("snapshot-catchup-entries"),
    heartbeat_interval: str | None = _flag("heartbeat-interval"),
    election_timeout: str | None = _flag("election-timeout"),
    read_lease: str | None = _flag("read-lease"),
    read_lease_kind: str | None = _flag("read-lease-kind"),
    clock_drift: str | None = _flag("clock-drift"),
    priority: str | None = _flag("priority"),
    quiescence: str | None = _flag("quiescence"),
    cert_file: str | None = _flag("cert-file"),
    key_file: str | None = _flag("key-file"),
    trusted_ca_file: str | None = _flag("trusted-ca-file"),
    client_cert_auth: str | None = _flag("client-cert-auth"),
    client_crl_file: str | None = _flag("client-crl-file"),
    client_cert_allowed_hostname: str | None = _flag("client-cert-allowed-hostname"),
    auto_tls: str | None = _flag("auto-tls"),
    peer_cert_file: str | None = _flag("peer-cert-file"),
    peer_key_file: str | None = _flag("peer-key-file"),
    peer_trusted_ca_file: str | None = _flag("peer-trusted-ca-file"),
    peer_client_cert_auth: str | None = _flag("peer-client-cert-auth"),
    peer_crl_file: str | None = _flag("peer-crl-file"),
    peer_cert_allowed_cn: str | None = _flag("peer-cert-allowed-cn"),
    peer_cert_allowed_hostname: str | None = _flag("peer-cert-allowed-hostname"),
    peer_auto_tls: str | None = _flag("peer-auto-tls"),
    self_signed_cert_validity: str | None = _flag("self-signed-cert-validity"),
    max_request_bytes: str | None = _flag("max-request-bytes"),
    quota_backend_bytes: str | None = _flag("quota-backend-bytes"),
    auto_compaction_mode: str | None = _flag("auto-compaction-mode"),
    auto_compaction_retention: str | None = _flag("auto-compaction-retention"),
    log_level: str | None = _flag("log-level"),
    config_file: Path | None = CONFIG_FILE,
) -> None:
    """Run one member of a cluster in the foreground, with etcd's flags.

    Without flags it is a cluster of one, on ports 2379 and 2380, in ./default.ratified. Every option is also a
    variable (--data-dir is RATIFIED_DATA_DIR) and a line of the TOML file (data-dir = "..."); a flag counts before
    a variable, a variable before the file. SIGTERM and Ctrl-C stop it cleanly.

    \b
    Examples:
      ratified serve
      ratified serve --name a --data-dir /var/lib/ratified \\
          --listen-client-urls http://10.0.0.1:2379 --listen-peer-urls http://10.0.0.1:2380 \\
          --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380
    """
    given = {
        "name": name,
        "data-dir": data_dir,
        "listen-client-urls": listen_client_urls,
        "advertise-client-urls": advertise_client_urls,
        "listen-peer-urls": listen_peer_urls,
        "initial-advertise-peer-urls": initial_advertise_peer_urls,
        "initial-cluster": initial_cluster,
        "initial-cluster-state": initial_cluster_state,
        "initial-cluster-token": initial_cluster_token,
        "initial-absent": initial_absent,
        "engine": engine,
        "snapshot-count": snapshot_count,
        "checkpoint-log-bytes": checkpoint_log_bytes,
        "snapshot-catchup-entries": snapshot_catchup_entries,
        "heartbeat-interval": heartbeat_interval,
        "election-timeout": election_timeout,
        "read-lease": read_lease,
        "read-lease-kind": read_lease_kind,
        "clock-drift": clock_drift,
        "priority": priority,
        "quiescence": quiescence,
        "cert-file": cert_file,
        "key-file": key_file,
        "trusted-ca-file": trusted_ca_file,
        "client-cert-auth": client_cert_auth,
        "client-crl-file": client_crl_file,
        "client-cert-allowed-hostname": client_cert_allowed_hostname,
        "auto-tls": auto_tls,
        "peer-cert-file": peer_cert_file,
        "peer-key-file": peer_key_file,
        "peer-trusted-ca-file": peer_trusted_ca_file,
        "peer-client-cert-auth": peer_client_cert_auth,
        "peer-crl-file": peer_crl_file,
        "peer-cert-allowed-cn": peer_cert_allowed_cn,
        "peer-cert-allowed-hostname": peer_cert_allowed_hostname,
        "peer-auto-tls": peer_auto_tls,
        "self-signed-cert-validity": self_signed_cert_validity,
        "max-request-bytes": max_request_bytes,
        "quota-backend-bytes": quota_backend_bytes,
        "auto-compaction-mode": auto_compaction_mode,
        "auto-compaction-retention": auto_compaction_retention,
        "log-level": log_level,
    }
    try:
        config = load({flag: text for flag, text in given.items() if text is not None}, os.environ, config_file)
    except ConfigError as wrong:
        raise CommandFailed(str(wrong)) from wrong
    from ratified.server.process import ServeFailed, run

    try:
        run(config)
    except ServeFailed as failed:
        raise CommandFailed(str(failed)) from failed
