"""Calls that want a leader: etcd's request metadata ``hasleader: true``.

A client that watches through a member which is cut off would wait for ever and not know it. With it a call is
refused where the member knows of no leader, and a stream is ended once it has known of none for three election
time-outs; the client then goes to another member.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from ratified.kv.errors import EtcdError
from ratified.runtime import Host
from ratified.wire.etcd import errors

METADATA = ("hasleader", "true")
LOOKS_WITHOUT_LEADER_MAX = 3


class LeaderWatch:
    """Looks for a leader once in every election time-out, while some stream wants one."""

    def __init__(self, host: Host, election_timeout_s: float) -> None:
        self._host = host
        self._period_s = election_timeout_s
        self._lost: dict[asyncio.Future[None], None] = {}
        self._looks_without = 0
        self._timer: asyncio.TimerHandle | None = None

    def check(self) -> None:
        """Raise ``EtcdError`` where no leader is known now."""
        if not self._is_known():
            raise EtcdError(*errors.NO_LEADER)

    async def run(self, serving: Awaitable[None]) -> None:
        """Serve a stream; raises ``EtcdError`` once there has been no leader for long."""
        lost = self._begin()
        task = asyncio.ensure_future(serving)
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                raise EtcdError(*errors.NO_LEADER)
            task.result()
        finally:
            task.cancel()
            self._lost.pop(lost, None)

    def _is_known(self) -> bool:
        return self._host.leader() is not None

    def _begin(self) -> asyncio.Future[None]:
        lost = asyncio.get_running_loop().create_future()
        self._lost[lost] = None
        if self._timer is None:
            self._looks_without = 0
            self._arm()
        return lost

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._period_s, self._look)

    def _look(self) -> None:
        self._timer = None
        self._looks_without = 0 if self._is_known() else self._looks_without + 1
        if self._looks_without >= LOOKS_WITHOUT_LEADER_MAX:
            for lost in self._lost:
                lost.set_result(None)
            self._lost.clear()
        if self._lost:
            self._arm()
