"""etcd's flags that are no options of this server: what they would change is not here.

Rules

1. A flag is accepted at any value where it tunes what does not exist here, or asks for what is always so; the reason
   says why. Nobody who starts this server with etcd's flags gets less than the flag promises.
2. Every other one is accepted at the values that ask for nothing, and refused at the rest, with what to do instead.
3. A name is here or in ``options``, never in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class EtcdFlag(NamedTuple):
    """A flag, the values at which it is accepted (None: all), and why, or what to do instead."""

    name: str
    accepted: tuple[str, ...] | None
    reason: str

    @property
    def is_refused(self) -> bool:
        """At some value."""
        return self.accepted is not None

    def accepts(self, text: str) -> bool:
        return self.accepted is None or text in self.accepted


def _without_effect(reason: str, *names: str) -> tuple[EtcdFlag, ...]:
    return tuple(EtcdFlag(name, None, reason) for name in names)


def _refused(instead: str, *names: str, accepted: tuple[str, ...] = ("",)) -> tuple[EtcdFlag, ...]:
    return tuple(EtcdFlag(name, accepted, instead) for name in names)


_NO = ("false", "False", "FALSE", "f", "F", "0", "")

ETCD_FLAGS: tuple[EtcdFlag, ...] = (
    # -- accepted
    *_without_effect(
        "one checkpoint is kept, and the log behind it, so no old files pile up",
        "max-snapshots",
        "max-wals",
    ),
    *_without_effect(
        "the store is LMDB, which has none of bbolt's settings",
        "backend-batch-interval",
        "backend-batch-limit",
        "backend-bbolt-freelist-type",
        "experimental-backend-bbolt-freelist-type",
        "experimental-txn-mode-write-with-shared-buffer",
    ),
    *_without_effect(
        "whoever stands for election asks first whether it would be elected, so a start disturbs no leader",
        "initial-election-tick-advance",
        "pre-vote",
    ),
    *_without_effect(
        "a change of the members that would leave no majority reachable is always refused",
        "strict-reconfig-check",
    ),
    *_without_effect(
        "a member is given up by the election time-out, not by time-outs of connections",
        "raft-read-timeout",
        "raft-write-timeout",
    ),
    *_without_effect(
        "what is compacted is removed in small pieces between requests",
        "compaction-batch-limit",
        "compaction-sleep-interval",
        "experimental-compaction-batch-limit",
        "experimental-compaction-sleep-interval",
    ),
    *_without_effect(
        "a member's certificate is never compared with the address that it connects from",
        "experimental-peer-skip-client-san-verification",
        "peer-skip-client-san-verification",
    ),
    *_without_effect(
        "calls as JSON are served without a connection, so none needs a certificate",
        "client-cert-file",
        "client-key-file",
    ),
    *_without_effect("there is no store of etcd's v2 API that could be left", "v2-deprecation"),
    *_without_effect(
        "it concerns --proxy or --discovery, and both are refused",
        "discovery-fallback",
        "proxy-dial-timeout",
        "proxy-failure-wait",
        "proxy-read-timeout",
        "proxy-refresh-interval",
        "proxy-write-timeout",
    ),
    *_without_effect("all metrics are always there", "metrics"),
    *_without_effect("--log-format says what lines look like, whatever the library is called", "logger"),
    *_without_effect("it concerns --enable-log-rotation, which is refused", "log-rotation-config-json"),
    *_without_effect(
        "a member never watches for a downgrade", "downgrade-check-time", "experimental-downgrade-check-time"
    ),
    *_without_effect(
        "requests that come before the member has joined wait, for as long as requests do",
        "experimental-wait-cluster-ready-timeout",
    ),
    *_without_effect(
        "a client may send PING as often as it likes, up to 1000 frames a second", "grpc-keepalive-min-time"
    ),
    *_without_effect("listeners always reuse addresses that connections have just left", "socket-reuse-address"),
    *_without_effect(
        "etcd ignores it as well, since its version 2",
        "cluster-active-size",
        "max-result-buffer",
        "max-retry-attempts",
        "retry-interval",
        "snapshot",
        "v",
        "vv",
    ),
    # -- refused
    *_refused(
        "of one text 100 lines a second are logged, so that no log can fill a disk: leave it out",
        "disable-log-sampling",
        accepted=_NO,
    ),
    *_refused("the log is kept in --data-dir: give a --data-dir on the disk that is meant", "wal-dir"),
    *_refused(
        "there is no discovery service here: name the members in --initial-cluster, or by --discovery-srv",
        "discovery",
        "discovery-cacert",
        "discovery-cert",
        "discovery-dial-timeout",
        "discovery-endpoints",
        "discovery-insecure-skip-tls-verify",
        "discovery-insecure-transport",
        "discovery-keepalive-time",
        "discovery-keepalive-timeout",
        "discovery-key",
        "discovery-password",
        "discovery-proxy",
        "discovery-request-timeout",
        "discovery-token",
        "discovery-user",
    ),
    *_refused(
        "etcd's v2 API is not served: have its clients use the v3 API",
        "enable-v2",
        "experimental-enable-v2v3",
        accepted=_NO,
    ),
    *_refused(
        "this server is no proxy: give clients the addresses of all members, or put a TCP load balancer before them",
        "proxy",
        accepted=("", "off", *_NO),
    ),
    *_refused(
        "a member is not turned into a cluster by its start: `ratified recover` makes a new cluster of what is left",
        "force-new-cluster",
        accepted=_NO,
    ),
    *_refused(
        "what is acknowledged here is on disk: for tests that need no disk give a --data-dir in memory, such as one in"
        " /dev/shm",
        "unsafe-no-fsync",
        accepted=_NO,
    ),
    *_refused(
        "this process locks no memory: run it without swap, by `MemorySwapMax=0` in its systemd unit or by `swapoff`",
        "experimental-memory-mlock",
        "memory-mlock",
        accepted=_NO,
    ),
    *_refused(
        "a start removes no free pages from the store: they are used again by later writes; leave it out",
        "bootstrap-defrag-threshold-megabytes",
        "experimental-bootstrap-defrag-threshold-megabytes",
        accepted=("", "0"),
    ),
    *_refused(
        "whoever rotates the file may move it away, and a new one is made: say so to logrotate, and leave it out",
        "enable-log-rotation",
        accepted=_NO,
    ),
    *_refused("all of the server logs at one level: say --log-level", "log-package-levels"),
    *_refused("say --log-level debug", "debug", accepted=_NO),
    *_refused("`ratified --version` says it", "version", accepted=_NO),
    *_refused(
        "there are no feature gates here: leave it out, and give the options themselves",
        "feature-gates",
    ),
    *_refused(
        "a member connects from the address that its machine's routes say: leave it out",
        "experimental-set-member-localaddr",
        accepted=_NO,
    ),
    *_refused(
        "five members may learn at a time, in every cluster: leave it out",
        "experimental-max-learners",
        "max-learners",
        accepted=("", "5"),
    ),
    *_refused(
        "a new leader renews every lease here, and remembers no remaining times: leave it out, and give leases times"
        " that may begin anew",
        "experimental-enable-lease-checkpoint",
        "experimental-enable-lease-checkpoint-persist",
        accepted=_NO,
    ),
    *_refused(
        "what is compacted is not compared by itself: compare everything, by --corrupt-check-time",
        "compact-hash-check-time",
        "experimental-compact-hash-check-time",
        accepted=("", "0", "0s"),
    ),
    *_refused(
        "what is compacted is not compared by itself: compare everything, by --corrupt-check-time",
        "experimental-compact-hash-check-enabled",
        accepted=_NO,
    ),
    *_without_effect(
        "the line of a call that --warning-unary-request-duration calls slow says how long applying took",
        "experimental-warning-apply-duration",
        "warning-apply-duration",
    ),
    *_without_effect("nothing is stopped while the store is compacted", "experimental-stop-grpc-service-on-defrag"),
)
BY_NAME: Mapping[str, EtcdFlag] = {flag.name: flag for flag in ETCD_FLAGS}
