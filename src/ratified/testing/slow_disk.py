"""Disks of real nodes that answer slowly on command: syncs of the log, or writes of the store."""

from __future__ import annotations

import os
import subprocess
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
    told = Path(f"{_data_dir(node)}.slow")
    written = told.with_suffix(".new")
    written.write_text(str(sync_s))
    written.rename(told)
    try:
        yield
    finally:
        told.unlink()


@contextmanager
def slow_store(node: LocalNode, write_s: float) -> Iterator[None]:
    """Each commit of this node's store takes so much longer meanwhile: Debian's strace delays its last write.

    Only root may trace a process that it has not started.
    """
    traced = ["-f", "-qq", "-o", os.devnull, "-p", str(node.pid), "-P", f"{_data_dir(node)}/store/data.mdb"]
    delayed = ["-e", "trace=pwrite64", "-e", f"inject=pwrite64:delay_enter={int(write_s * 1e6)}"]
    tracer = subprocess.Popen(["strace", *traced, *delayed])
    try:
        yield
    finally:
        tracer.terminate()
        tracer.wait()


def _data_dir(node: LocalNode) -> str:
    return next(each.partition("=")[2] for each in node.arguments if each.startswith("--data-dir="))
