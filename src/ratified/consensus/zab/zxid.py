"""Transaction ids: an epoch and a counter, packed into 64 bits as ZooKeeper does (epoch above, counter below).

An entry's zxid is computed, not stored: its era is its epoch, and within an epoch index and counter differ by the
epoch's *origin*, the index of the last entry of its initial history. The counter of an epoch's first entry is 1.
"""

from __future__ import annotations

EPOCH_MAX = 2**32 - 1
COUNTER_MAX = 2**32 - 1


def pack(epoch: int, counter: int) -> int:
    """The zxid as one number, ordered as (epoch, counter)."""
    assert 0 <= epoch <= EPOCH_MAX, f"epoch {epoch} does not fit into 32 bits"
    assert 0 <= counter <= COUNTER_MAX, f"counter {counter} does not fit into 32 bits"
    return epoch << 32 | counter


def unpack(zxid: int) -> tuple[int, int]:
    return zxid >> 32, zxid & COUNTER_MAX


def counters_left(counter: int) -> int:
    """How many more proposals an epoch can number whose latest has this counter."""
    return COUNTER_MAX - counter
