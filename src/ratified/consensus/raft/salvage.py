"""Which log counts where a majority is lost: the most up-to-date one (section 5.4.1).

It has all that any other survivor knows to be committed. Say survivor B knows entry i to be committed, in a term t at
the latest, and survivor A's log ends with term u. Where u > t, the leader of u had the entry (leader completeness), at
or below the end of its log when it began, and A's entry of u lies above that: so A has it (log matching). Where u = t
both logs are prefixes of the same leader's, and the longer one has it. (u < t cannot be: B's log ends with t or later.)
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.salvage import Remains, Salvage, Salvager, applied, as_they_are, choose_one


def choose(remains: Sequence[Remains]) -> Salvage:
    best = max(range(len(remains)), key=lambda at: (remains[at].last_era, remains[at].last))
    return choose_one(remains, best)


SALVAGER = Salvager(choose, applied, as_they_are)
