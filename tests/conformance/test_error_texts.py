"""Our error texts are in etcd's own client, letter by letter."""

from __future__ import annotations

import shutil
from pathlib import Path

from ratified.wire.etcd import errors
from tests.wire.test_etcd_errors import OURS, rows

NOT_IN_ETCDCTL_3_4 = {
    errors.UNKNOWN_SERVICE.text,
    errors.PERMISSION_NOT_GIVEN.text,
    errors.INVALID_SORT_OPTION.text,
    errors.NOT_DECODABLE.text,
    errors.DOWNGRADE_TARGET_MALFORMED.text,
    errors.DOWNGRADE_TARGET_INVALID.text,
    errors.NO_DOWNGRADE.text,
}


def test_etcdctl_holds_every_text_of_the_table() -> None:
    """A Go program holds its constant strings as they are; Debian's etcdctl is of etcd 3.4."""
    etcdctl = shutil.which("etcdctl")
    assert etcdctl is not None
    program = Path(etcdctl).read_bytes()
    texts = {row.text for name, row in rows().items() if name not in OURS} - NOT_IN_ETCDCTL_3_4
    texts |= {errors.EMPTY_WATCHER_RANGE_TEXT, errors.DUPLICATE_WATCH_ID_TEXT}
    assert [text for text in sorted(texts) if text.encode() not in program] == []
