"""What a node tells of itself beyond etcd's Maintenance.Status: method ``/ratified.v1.Node/Report``.

Request: nothing. Answer: this struct as JSON, so that a script or a person can read it as well as our own table.
Unknown fields are ignored, missing ones have defaults: a newer or older node can be asked.
"""

from __future__ import annotations

import msgspec

REPORT_METHOD = "/ratified.v1.Node/Report"
IGNORED = "ignored: "
"""How the names of those words begin that count what an engine ignored."""


class NodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One node's part in the cluster, for tables that people read; nothing decides by it."""

    name: str
    member: str
    """Member id, as etcd's tools print it: hexadecimal."""
    role: str
    term: int
    """Its era as one number, in whatever protocol; ``words`` say it in the protocol's own way."""
    leader: str = ""
    """Name of the leader, as far as this node knows; empty: none."""
    last: int = 0
    """Last index in the log; then what is durable here, committed, applied."""
    durable: int = 0
    commit: int = 0
    applied: int = 0
    log_bytes: int = 0
    checkpoint_bytes: int = 0
    """How large the last checkpoint is; how long it took, and how long ago that was, if this process has taken it."""
    checkpoint_us: int = 0
    checkpoint_age_us: int = 0
    operations: int = 0
    """Requests answered since the start."""
    open_requests: int = 0
    """Requests that wait for their answer, streams included."""
    overflows: int = 0
    """Sessions and connections with peers that were ended since the start, because too much waited to be sent."""
    turns: int = 0
    """Turns of the node since the start, and the microseconds that they took: all that is not gRPC."""
    turns_us: int = 0
    turn_classes: list[int] = []
    """Turns by how long they lasted: up to 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000 ms, and longer."""
    engine: str = ""
    """The protocol, as ``--engine`` names it."""
    words: dict[str, str] = {}
    """The protocol's own words: term; ballot; epoch and zxid."""

    @property
    def own_words(self) -> list[str]:
        """What the protocol itself calls where this node stands, such as ``["term 7"]``."""
        return [f"{name} {word}" for name, word in self.words.items() if not name.startswith(IGNORED)]
