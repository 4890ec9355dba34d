"""The real ports around a node, and their face: ``Host``.

Rules of this package:

1. Nothing in here decides. Clock, disk, network and loop are carried to a ``Node`` as inputs and its outputs are
   carried out, in order; the simulator does the same with ports of its own.
2. All Python work runs on the loop's thread. The one other thread sits in one system call of the log at a time.
3. The way of a request has no task and no future: ``Host.submit`` queues an input and remembers a callback. The
   coroutines are a convenience over it.
4. Every failure ends in one place with one clear text: a start is refused, a request is refused or unknown, a host
   has failed. Bytes from a peer never end more than their connection.
"""

from ratified.consensus.contract import LeaseKind
from ratified.node.config import NodeLimits
from ratified.node.ports import Outcome, Reason, Reply, Work
from ratified.runtime.config import HostConfig
from ratified.runtime.errors import (
    HostFailed,
    OutcomeUnknown,
    RatifiedError,
    RequestRefused,
    ResultInvalid,
    StartRefused,
)
from ratified.runtime.host import Host
from ratified.runtime.reader import Reader
from ratified.runtime.status import HostStatus, MemberInfo
from ratified.runtime.tls import TlsFiles
from ratified.storage.durations import Durations
from ratified.storage.format import LogLimits

__all__ = [
    "Durations",
    "Host",
    "HostConfig",
    "HostFailed",
    "HostStatus",
    "LeaseKind",
    "LogLimits",
    "MemberInfo",
    "NodeLimits",
    "Outcome",
    "OutcomeUnknown",
    "RatifiedError",
    "Reader",
    "Reason",
    "Reply",
    "RequestRefused",
    "ResultInvalid",
    "StartRefused",
    "TlsFiles",
    "Work",
]
