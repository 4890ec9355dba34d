"""Calls that want a leader: etcd's request metadata ``hasleader: true``.

A client that watches through a member which is cut off would wait for ever and not know it. With this word a call is
refused where the member knows of no leader, and a stream is ended once it has known of none for three election
time-outs; the client then goes to another member.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from ratified.api.errors import ApiError, refused
from ratified.runtime import Host, RequestRefused, Why

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
        """Raise ``ApiError`` where no leader is known now."""
        if not self._is_known():
            raise _no_leader()

    async def run(self, serving: Awaitable[None]) -> None:
        """Serve a stream; raises ``ApiError`` once there has been no leader for long."""
        lost = self._begin()
        task = asyncio.ensure_future(serving)
        try:
            await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                raise _no_leader()
            task.result()
        finally:
            task.cancel()
            self._lost.pop(lost, None)

    def _is_known(self) -> bool:
        return self._host.status().node.groups[0].engine.leader is not None

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


def _no_leader() -> ApiError:
    return refused(RequestRefused(Why.NO_LEADER))
