"""What a node counts of its traffic with one member, over all sessions: for people and metrics, nothing decides by it.

A round trip is measured by what members say to each other anyway: no more often than once in ``PROBE_US`` a mark with
the number 0, which stands for no bytes, goes out behind other frames, and the other side gives it back as it gives back
every mark (``send_queue``). Its time is that of turns, so it has in it what both processes were busy with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ratified.storage.durations import Durations
from ratified.wire.peer import Batch, Frame

PROBE = 0
"""The number of a mark that measures a round trip."""
PROBE_US = 500_000
"""At least so long passes between two of them."""
ROUND_TRIP_UP_TO_S = tuple(0.0001 * 2**power for power in range(16))
"""From 0.1 ms to 3.2768 s, as etcd counts round trips."""


class PeerCounts:
    __slots__ = ("dropped", "received", "round_trips", "sent")

    def __init__(self) -> None:
        self.sent: defaultdict[type, int] = defaultdict(int)
        """Messages for groups that have left, by type; of one in pieces each piece."""
        self.received: defaultdict[type, int] = defaultdict(int)
        """Messages for groups that have come, whole, by type."""
        self.dropped = 0
        """Messages that an engine had for the member while there was no session with it."""
        self.round_trips = Durations(ROUND_TRIP_UP_TO_S)

    def leave(self, frames: Iterable[Frame]) -> None:
        """These were sent to the member."""
        sent = self.sent
        for frame in frames:
            if isinstance(frame, Batch):
                for _, message in frame.messages:
                    sent[type(message)] += 1
            else:
                sent[type(frame)] += 1
