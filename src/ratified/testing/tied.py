"""``python -m ratified.testing.tied PID serve ...``: the command, ended with SIGTERM at the end of who started it.

``ratified up``, ``ratified demo``, tests and benchmarks start their nodes this way, so that none is left behind however
its parent dies. Linux only (prctl's PR_SET_PDEATHSIG); elsewhere a node is simply not tied.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1


def tie_to(parent: int) -> None:
    """Ask the kernel for SIGTERM at the parent's end; leave at once if it has ended already."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    tie_to(int(sys.argv[1]))
    sys.argv = ["ratified", *sys.argv[2:]]
    runpy.run_module("ratified", run_name="__main__", alter_sys=True)
