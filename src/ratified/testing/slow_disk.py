"""A disk under the log of a real node that answers slowly, or hangs, on command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ratified.testing.processes import LocalNode

_BEFORE_ALL = """
import os
import sys
import time

directory = next((word.partition("=")[2] for word in sys.orig_argv if word.startswith("--data-dir=")), "")
sync = os.fdatasync


def slow(descriptor):
    if directory and os.path.exists(directory + ".slow"):
        with open(directory + ".slow") as file:
            time.sleep(float(file.read() or 0))
    sync(descriptor)


os.fdatasync = slow
"""
"""Runs in each node before anything else: while ``DATA-DIR.slow`` exists a sync takes as many seconds as it says."""


def may_be_slow(nodes: Iterable[LocalNode], directory: Path) -> None:
    """Have the next process of these nodes heed ``slow_disk``; ``directory`` is made for it."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(_BEFORE_ALL)
    for node in nodes:
        node.environment["PYTHONPATH"] = os.pathsep.join([str(directory), *sys.path])


@contextmanager
def slow_disk(node: LocalNode, sync_s: float) -> Iterator[None]:
    """Each sync of this node's log takes so much longer meanwhile."""
    data_dir = next(each.partition("=")[2] for each in node.arguments if each.startswith("--data-dir="))
    told = Path(f"{data_dir}.slow")
    written = told.with_suffix(".new")
    written.write_text(str(sync_s))
    written.rename(told)
    try:
        yield
    finally:
        told.unlink()
