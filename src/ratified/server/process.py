"""The life of a server process: start, one line when it serves, a clean stop on SIGTERM or SIGINT.

Order of a start: the data directory and the peers' listener (``Host.start``), the clients' listener, then a first
linearizable read. When that is answered there is a leader and this member follows it, and the line
``ready to serve client requests`` is logged; requests that came before it have waited for the same.
Order of a stop: the lead of every group goes to another member, so that nobody waits for an election; the clients'
listener takes no more calls and answers those that are open; then the host ends its log.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import math
import signal
from typing import TYPE_CHECKING

import msgspec

from ratified.api.auto_compaction import ByRevisions, ByTime, Policy, compact_for_ever
from ratified.api.corruption import CorruptionChecks, DataDiffers
from ratified.api.methods import METHODS
from ratified.api.service import Service
from ratified.api.signed_tokens import BadKey, JwtTokens
from ratified.consensus.engines import ENGINES
from ratified.kv import queries
from ratified.kv.check import KV_CHECKS
from ratified.kv.commands import OVERHEAD_BYTES_MAX, lease_ttl_min_s
from ratified.kv.errors import EtcdError
from ratified.kv.limits import KvLimits
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig, HostFailed, LogLimits, NodeLimits, StartRefused, TlsFiles
from ratified.runtime.directory import make_private
from ratified.runtime.tls import Certificates, CertificatesError
from ratified.server.clients import ClientListener, ListenerOptions, ListenError
from ratified.server.config import ServerConfig, TracingOptions
from ratified.server.descriptors import TooFewDescriptors, client_connections_max
from ratified.server.discovery import FILE, DiscoveryFailed, Members, discover, remember, remembered
from ratified.server.logs import LogOutputError, logging_to
from ratified.server.own_certificates import DIRECTORY, tls_files
from ratified.server.web import Serves, WebOptions

if TYPE_CHECKING:
    from ratified.server.tracing import Tracing

log = logging.getLogger("ratified.server")

READY = "ready to serve client requests"
STOP_GRACE_S = 0.5
ALPN_PROTOCOLS = ("h2",)
SEGMENTS_A_CHECKPOINT = 4
"""At the least: the log is cut by whole segments."""
SEGMENT_GRAIN_BYTES = 4096
FIRST_READ_PAUSE_MIN_S = 0.1
FIRST_READ_PAUSE_MAX_S = 10.0
"""Between two attempts at the first read, which a stopped group refuses at once: twice as long each time."""


class ServeFailed(Exception):
    """The process could not start, or had to stop; one line that says what, where, and what to do."""


def run(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``ServeFailed``."""
    faulthandler.enable()  # a store that is cut while it is mapped ends the process by a signal: not without a word
    try:
        with logging_to(config.log_outputs, _least_level(config), config.log_format):
            for warning in config.warnings:
                log.warning("%s", warning)
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(_serve(config))
    except LogOutputError as error:
        raise ServeFailed(str(error)) from error


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, where there is uvloop: on Linux the package requires it."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _least_level(config: ServerConfig) -> int:
    others = {"warn": logging.WARNING, "panic": logging.CRITICAL}
    return others.get(config.log_level) or logging.getLevelNamesMapping()[config.log_level.upper()]


async def _serve(config: ServerConfig) -> None:
    try:
        certificates = _client_certificates(config)
    except CertificatesError as error:
        raise ServeFailed(f"the certificates for clients cannot be used: {error}") from error
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    starting, stopped = asyncio.ensure_future(_start_host(config)), asyncio.ensure_future(stop.wait())
    await asyncio.wait((starting, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not starting.done():  # it waits for a cluster to join
        starting.cancel()
        return
    host = starting.result()
    # What the start has made (modules, the recovered state) is there to the end: no collection looks at it again.
    gc.collect()
    gc.freeze()
    try:
        await _serve_on(host, config, certificates, stop)
    except (ListenError, TooFewDescriptors, BadKey, DataDiffers) as error:
        raise ServeFailed(str(error)) from error
    except HostFailed as error:
        raise ServeFailed(f"the server had to stop: {error}") from error
    finally:
        await host.close()
    log.info("stopped cleanly")


async def _members(config: ServerConfig) -> Members:
    """Who the members are. Raises ``DiscoveryFailed``."""
    if config.discovery is None:
        cluster = {name: [str(url) for url in urls] for name, urls in config.initial_cluster.items()}
        return Members(cluster, config.name)
    found = remembered(config.data_dir) if _has_data(config) else None
    if found is None:
        joins = config.initial_cluster_state == "existing"
        found = await discover(config.discovery, config.name, config.initial_advertise_peer_urls, joins=joins)
        _check_schemes(config, found)
        make_private(config.data_dir)
        remember(config.data_dir, found)
    return found


def _check_schemes(config: ServerConfig, members: Members) -> None:
    secure = [(name, url) for name, urls in members.cluster.items() for url in urls if url.startswith("https:")]
    if secure and config.peer_tls is None:
        name, url = secure[0]
        raise DiscoveryFailed(
            f"the member {name} is at {url}, which needs --peer-cert-file and --peer-key-file, or --peer-auto-tls"
        )


async def _start_host(config: ServerConfig) -> Host:
    try:
        members = await _members(config)
    except DiscoveryFailed as error:
        raise ServeFailed(str(error)) from error
    _check_cluster_state(config, members)
    kv_limits = KvLimits(
        watch_progress_us=int(config.watch_progress_s * 1_000_000), token_ttl_us=config.auth_token_ttl_s * 1_000_000
    )
    try:
        return await Host.start(
            HostConfig(
                data_dir=config.data_dir,
                name=config.name,
                cluster=members.cluster,
                known_as=members.this,
                initial_absent=config.initial_absent,
                joins=config.initial_cluster_state == "existing",
                token=config.initial_cluster_token,
                engine=ENGINES[config.engine],
                listen=[str(url) for url in config.listen_peer_urls],
                reuse_port=config.reuse_port,
                client_urls=[str(url) for url in config.advertise_client_urls],
                heartbeat_us=config.heartbeat_interval_ms * 1000,
                election_timeout_us=config.election_timeout_ms * 1000,
                read_lease_us=config.read_lease_ms * 1000,
                read_lease_kind=config.read_lease_kind,
                clock_drift_ppm_max=config.clock_drift_percent * 10_000,
                priority=config.priority,
                quiescence=config.quiescence,
                peer_tls=_peer_tls(config),
                node_limits=_node_limits(config),
                log_limits=LogLimits(segment_bytes=_segment_bytes(config.checkpoint_log_bytes)),
            ),
            lambda group, space: KvStore(space, kv_limits),
            KV_CHECKS,
        )
    except (StartRefused, CertificatesError) as error:
        raise ServeFailed(str(error)) from error


def _client_certificates(config: ServerConfig) -> Certificates | None:
    """What https client URLs are served by; None: there are none. Raises ``CertificatesError``."""
    if config.client_tls is None:
        return None
    urls = (
        *config.listen_client_urls,
        *config.listen_client_http_urls,
        *config.listen_metrics_urls,
        *config.advertise_client_urls,
    )
    hosts = (url.host for url in urls if url.host)
    return Certificates(tls_files(config.client_tls, config.data_dir / DIRECTORY / "client", hosts), ALPN_PROTOCOLS)


def _peer_tls(config: ServerConfig) -> TlsFiles | None:
    """Likewise for peers."""
    if config.peer_tls is None:
        return None
    hosts = (url.host for url in (*config.listen_peer_urls, *config.initial_advertise_peer_urls))
    return tls_files(config.peer_tls, config.data_dir / DIRECTORY / "peer", hosts)


def _node_limits(config: ServerConfig) -> NodeLimits:
    limits = NodeLimits(
        request_bytes_max=config.max_request_bytes + OVERHEAD_BYTES_MAX,
        checkpoint_log_bytes_min=config.checkpoint_log_bytes,
        snapshot_catchup_entries=max(config.snapshot_catchup_entries, 1),
    )
    if not config.snapshot_count:
        return limits
    return msgspec.structs.replace(limits, checkpoint_entries=config.snapshot_count)


def _segment_bytes(checkpoint_log_bytes: int) -> int:
    grains = checkpoint_log_bytes // SEGMENTS_A_CHECKPOINT // SEGMENT_GRAIN_BYTES
    return min(grains * SEGMENT_GRAIN_BYTES, LogLimits().segment_bytes)


def _has_data(config: ServerConfig) -> bool:
    """Is the data directory a member's already?"""
    others = (DIRECTORY, FILE)
    return config.data_dir.is_dir() and any(each.name not in others for each in config.data_dir.iterdir())


def _check_cluster_state(config: ServerConfig, members: Members) -> None:
    """Whoever joins needs somebody to ask."""
    if config.initial_cluster_state == "existing" and not _has_data(config) and len(members.cluster) == 1:
        raise ServeFailed(
            f"--initial-cluster-state is 'existing', but {config.data_dir} holds no member's data: check --data-dir, "
            "or name, to join a cluster that runs, at least one other member in --initial-cluster"
        )


async def _serve_on(host: Host, config: ServerConfig, certificates: Certificates | None, stop: asyncio.Event) -> None:
    service = Service(
        host,
        election_timeout_s=config.election_timeout_ms / 1000,
        request_bytes_max=config.max_request_bytes,
        txn_ops_max=config.max_txn_ops,
        quota_bytes=config.quota_backend_bytes,
        lease_ttl_min_s=lease_ttl_min_s(config.election_timeout_ms * 1000),
        certificates_name_users=config.certificates_name_users,
        bcrypt_cost=config.bcrypt_cost,
        puts_together=config.puts_together,
        signed_tokens=None if config.auth_token is None else JwtTokens(config.auth_token),
    )
    checks = CorruptionChecks(service)
    answering = asyncio.ensure_future(checks.answer_for_ever())
    try:
        if not config.checks_at_start or await _is_as_others(host, checks, stop):
            await _listen_on(service, config, certificates, stop, checks)
    finally:
        answering.cancel()


async def _is_as_others(host: Host, checks: CorruptionChecks, stop: asyncio.Event) -> bool:
    """Compare this member's data before it serves; False: it is to stop. Raises ``DataDiffers``."""
    stopped, ended = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(host.ended())
    checking = asyncio.ensure_future(checks.check_at_start())
    try:
        await asyncio.wait((stopped, ended, checking), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
        if checking.done():
            checking.result()
        return checking.done()
    finally:
        for each in (stopped, ended, checking):
            each.cancel()


async def _listen_on(
    service: Service,
    config: ServerConfig,
    certificates: Certificates | None,
    stop: asyncio.Event,
    checks: CorruptionChecks,
) -> None:
    host = service.host
    options = ListenerOptions(
        streams_max=config.max_concurrent_streams,
        asks_after_s=config.keepalive_interval_s,
        answers_within_s=config.keepalive_timeout_s,
        reuse_port=config.reuse_port,
        slow_s=config.slow_s or math.inf,
        web=WebOptions(
            has_gateway=config.has_gateway,
            has_debug=config.enable_pprof,
            hosts=config.host_whitelist,
            origins=config.cors,
        ),
    )
    tracing = None if config.tracing is None else _open_tracing(config.tracing, host)
    listener = ClientListener(METHODS, service, client_connections_max(), certificates, options, tracing)
    for serves, urls in (
        (Serves.CALLS if config.listen_client_http_urls else Serves.ALL, config.listen_client_urls),
        (Serves.WEB, config.listen_client_http_urls),
        (Serves.METRICS, config.listen_metrics_urls),
    ):
        for url in urls:
            listener.listen(url, serves)
    await listener.start()
    announcing = asyncio.ensure_future(_announce(service, config))
    policy = _compaction(config)
    regular = [asyncio.ensure_future(service.take_back_alarms_for_ever())]
    if policy is not None:
        regular.append(asyncio.ensure_future(compact_for_ever(service, policy)))
    if config.check_every_s:
        regular.append(asyncio.ensure_future(checks.check_for_ever(config.check_every_s)))
    stopped, ended = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(host.ended())
    try:
        await asyncio.wait((stopped, ended), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            ended.result()
        log.info("stopping")
        await host.hand_over(timeout_s=config.election_timeout_ms / 1000)
    finally:
        for task in (announcing, stopped, ended, *regular):
            task.cancel()
        await listener.stop(STOP_GRACE_S)
        if tracing is not None:
            tracing.close()


def _open_tracing(options: TracingOptions, host: Host) -> Tracing:
    """Raises ``ServeFailed`` where there is no OpenTelemetry."""
    try:
        from ratified.server.tracing import Tracing
    except ModuleNotFoundError as missing:
        raise ServeFailed(
            f"--enable-distributed-tracing needs OpenTelemetry ({missing}): pip install ratified[otel]"
        ) from missing
    return Tracing(options, host)


def _compaction(config: ServerConfig) -> Policy | None:
    """None: history is kept until somebody compacts it."""
    if config.history_kept_s is not None:
        return ByTime(config.history_kept_s)
    return None if config.history_kept_revisions is None else ByRevisions(config.history_kept_revisions)


async def _announce(service: Service, config: ServerConfig) -> None:
    """Log the line once a linearizable read is answered."""
    pause_s = FIRST_READ_PAUSE_MIN_S
    while True:
        try:
            await service.query(queries.status())
            break
        except EtcdError as error:
            log.warning("%s; waiting for a leader and a majority", error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, FIRST_READ_PAUSE_MAX_S)
    log.info(
        "%s on %s as member %x (%s) of cluster %x",
        READY,
        ",".join(map(str, config.listen_client_urls)),
        service.host.member,
        config.name,
        service.host.cluster,
    )
