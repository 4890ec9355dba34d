"""A host in a process whose descriptors are all taken."""

from __future__ import annotations

from pathlib import Path

from ratified import Host
from tests.runtime.cluster import LOG_LIMITS, Journal, alone
from tests.runtime.loops import run
from tests.storage.test_files import no_descriptor_left


def test_the_log_goes_on_where_no_descriptor_is_left(tmp_path: Path) -> None:
    segments = 12
    line = bytes(LOG_LIMITS.segment_bytes // 4)

    async def main() -> None:
        async with await Host.start(alone(tmp_path), Journal) as host:
            with no_descriptor_left():
                for _ in range(4 * segments):
                    await host.propose(line)
        async with await Host.start(alone(tmp_path), Journal) as again:
            assert await again.propose(b"one more") == b"%d" % (4 * segments + 1)

    run(main())
    assert len(list(tmp_path.glob("*.log"))) > segments
