"""Which history counts where a majority is lost: the one that discovery would choose (phase 1, l.1.2).

The current epoch ranks first, then the last zxid. A member whose current epoch is f has taken the initial history of f,
which has all that was committed in epochs before; of two with one current epoch and one last epoch the longer history
has all of the shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.salvage import Remains, Salvage, Salvager, applied, as_they_are, choose_one
from ratified.consensus.zab.messages import Ending
from ratified.consensus.zab.state import decode_state


def choose(remains: Sequence[Remains]) -> Salvage:
    best = max(range(len(remains)), key=lambda at: _ending(remains[at]).rank())
    return choose_one(remains, best)


def _ending(remains: Remains) -> Ending:
    epoch, _ = remains.last_era
    return Ending(max(decode_state(remains.state).current_epoch, epoch), epoch, remains.last)


SALVAGER = Salvager(choose, applied, as_they_are)
