"""Our error texts are in etcd's own client, letter by letter."""

from __future__ import annotations

import shutil
from pathlib import Path

from ratified.wire.etcd import errors
from ratified.wire.etcd.errors import Error

NOT_IN_ETCD_3_4 = {errors.INVALID_SORT_OPTION.text, errors.NOT_DECODABLE.text}
OURS = {
    errors.ALARMS_NOT_KEPT.text,
    errors.SNAPSHOT_TOO_SLOW.text,
    errors.SNAPSHOT_UNREAD.text,
    errors.STORE_FAILED.text,
    errors.TOO_MANY_SNAPSHOTS.text,
}
"""What etcd does not refuse."""


def test_etcdctl_holds_every_text_of_the_table() -> None:
    """A Go program holds its constant strings as they are; Debian's etcdctl is of etcd 3.4."""
    etcdctl = shutil.which("etcdctl")
    assert etcdctl is not None
    program = Path(etcdctl).read_bytes()
    texts = {row.text for row in vars(errors).values() if isinstance(row, Error)} - OURS - NOT_IN_ETCD_3_4
    texts |= {errors.EMPTY_WATCHER_RANGE_TEXT, errors.DUPLICATE_WATCH_ID_TEXT}
    assert [text for text in sorted(texts) if text.encode() not in program] == []
