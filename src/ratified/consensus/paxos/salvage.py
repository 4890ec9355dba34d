"""What counts where a majority is lost: of each slot the value that was accepted in the highest ballot.

That is what a proposer does whom these members promise (section 2.2, P2c). A slot that anybody knows to be chosen gets
the chosen value: whoever knows it holds that value, and what was accepted in a higher ballot is the same (P2b). A slot
that nobody has accepted is filled with a no-op. What is void among all this the fence says, as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ratified.consensus.contract import Era
from ratified.consensus.paxos.fence import Fence
from ratified.consensus.paxos.state import decode_state
from ratified.consensus.salvage import Contradiction, Deliver, Remains, Salvage, Salvager, Source, applied


def choose(remains: Sequence[Remains]) -> Salvage:
    begin = max(range(len(remains)), key=lambda at: remains[at].held)
    first = remains[begin].held + 1
    last = max(first - 1, *(each.last for each in remains))
    sources = _merged(remains, first, last)
    known = max(map(committed, remains))
    gap = next((source for source in sources if source.log is None), None)
    if known > last or (gap is not None and gap.first <= known):
        missing = last + 1 if gap is None else gap.first
        raise Contradiction(
            f"slot {known} is chosen, and nobody has the value of slot {missing}: one of these directories has lost a "
            "part of its log, or is of another cluster"
        )
    return Salvage(begin, sources, last, known)


def _merged(remains: Sequence[Remains], first: int, last: int) -> Sequence[Source]:
    """For each slot, who has accepted it in the highest ballot."""
    runs = [(run, at) for at, each in enumerate(remains) for run in each.runs if run.last >= first]
    begins = {first, *(max(run.first, first) for run, _ in runs), *(run.last + 1 for run, _ in runs)}
    bounds = [*sorted(slot for slot in begins if slot <= last), last + 1]
    sources: list[Source] = []
    for begin, end in pairwise(bounds):
        having = [(run.era, at) for run, at in runs if run.first <= begin <= run.last]
        log = max(having)[1] if having else None
        if sources and sources[-1].log == log:
            sources[-1] = Source(sources[-1].first, end - 1, log)
        else:
            sources.append(Source(begin, end - 1, log))
    return sources


def committed(remains: Remains) -> int:
    """Beside what is applied, what the acceptor has written down as chosen."""
    return max(applied(remains), decode_state(remains.state).chosen)


def deliver(era: Era) -> Deliver:
    return Fence(era).on_delivery


SALVAGER = Salvager(choose, committed, deliver)
