"""A node publishes its name and client URLs in the cluster table.

Rules:

1. It proposes them once it has begun, when the table says something else of it; one proposal is open at a time.
2. Where that ends without the table saying so, it tries again later: after an election timeout at first, then after
   twice as long each time, up to ``PAUSE_TIMEOUTS_MAX``. A change of the table does not make it try sooner.
"""

from __future__ import annotations

from ratified.consensus.contract import Kind
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import Publish, encode_change
from ratified.node.config import NodeConfig
from ratified.node.requests import OpenRequest, Requests
from ratified.node.timers import Timer, Timers

DEADLINE_TIMEOUTS = 8
"""How long one proposal may take, in election timeouts."""
PAUSE_TIMEOUTS_MAX = 32
"""The longest pause between two proposals, in election timeouts."""


class Publishing:
    def __init__(self, config: NodeConfig, cluster: ClusterLog, requests: Requests, timers: Timers) -> None:
        self._timeout_us = config.election_timeout_us
        self._wanted = Publish(config.member, config.name, config.client_urls)
        self._cluster = cluster
        self._requests = requests
        self._timers = timers
        self._open: OpenRequest | None = None
        self._pauses = 0
        """Since the table last said what it should."""

    @property
    def _is_published(self) -> bool:
        row = self._cluster.table.members.get(self._wanted.member)
        return row is None or (row.name, row.client_urls) == (self._wanted.name, self._wanted.client_urls)

    def due(self, now: int, group: int) -> OpenRequest | None:
        """What is to be proposed now; None: nothing."""
        if self._open is not None or self._is_published:
            return None
        deadline = now + DEADLINE_TIMEOUTS * self._timeout_us
        self._open = self._requests.open_own(group, Kind.NODE, encode_change(self._wanted), deadline)
        return self._open

    def ended(self, now: int, token: int) -> None:
        """One of the node's own requests has ended: it is this one, or not."""
        if self._open is None or self._open.token != token:
            return
        self._open = None
        if self._is_published:
            self._pauses = 0
            return
        self._timers.set(Timer.PUBLISH, 0, now + min(1 << self._pauses, PAUSE_TIMEOUTS_MAX) * self._timeout_us)
        self._pauses = min(self._pauses + 1, PAUSE_TIMEOUTS_MAX.bit_length())
