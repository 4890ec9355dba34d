"""What calls that took long have waited for, in the log.

A fast call costs one comparison, and where very many are slow, most of them little more: a line takes as long as a put.
Of a write that was answered just now it is known when the entries that were applied last were proposed, durable here,
committed and applied (``node.milestones``), and it is among these. Where another member leads, this one does not know
when it was proposed.
"""

from __future__ import annotations

import logging

from ratified.runtime import Host

log = logging.getLogger("ratified.calls")

LINES_A_SECOND_MAX = 10
"""Of others it is said how many there were."""
CLOCK_GRAIN_S = 0.005
"""The loop's clock stands still for as long as one pass of it takes."""
WRITES = frozenset(
    (
        b"/etcdserverpb.KV/Compact",
        b"/etcdserverpb.KV/DeleteRange",
        b"/etcdserverpb.KV/Put",
        b"/etcdserverpb.KV/Txn",
        b"/etcdserverpb.Lease/LeaseGrant",
        b"/etcdserverpb.Lease/LeaseRevoke",
    )
)


class SlowCalls:
    """``slow_s``: calls that take longer are logged; infinity: none."""

    def __init__(self, host: Host, slow_s: float) -> None:
        self.slow_s = slow_s
        self._host = host
        self._second = 0
        self._lines = 0
        """In this second."""
        self._left_out = 0

    def ended(self, path: bytes, code: str, took_s: float, now_s: float) -> None:
        """A slow unary call has ended just now, after this time."""
        second = int(now_s)
        if second != self._second:
            self._second, self._lines = second, 0
            if self._left_out:
                log.warning("%d further calls took longer than %d ms", self._left_out, round(self.slow_s * 1000))
                self._left_out = 0
        if self._lines < LINES_A_SECOND_MAX:
            self._lines += 1
            self._log(path, code, took_s)
        else:
            self._left_out += 1

    def _log(self, path: bytes, code: str, took_s: float) -> None:
        steps = self._steps(took_s) if path in WRITES and code == "OK" else {}
        words = "".join(f", {stage} after {milliseconds} ms" for stage, milliseconds in steps.items())
        fields = {"method": path.decode(), "code": code, "took_ms": round(took_s * 1000)}
        log.warning(
            "a call of %s took %d ms, and ended as %s%s",
            fields["method"],
            fields["took_ms"],
            code,
            words,
            extra={"fields": {**fields, **{f"{stage}_ms": milliseconds for stage, milliseconds in steps.items()}}},
        )

    def _steps(self, took_s: float) -> dict[str, int]:
        """After how many milliseconds the write came how far; what is older than the call is none of its."""
        ago_s = self._host.last_applied_ago_s()
        after_s = {stage: took_s - ago for stage, ago in ago_s.items() if ago <= took_s + CLOCK_GRAIN_S}
        return {str(stage): round(max(after, 0) * 1000) for stage, after in after_s.items()}
