"""What entries are fetched for, beside delivery."""

from __future__ import annotations

import msgspec

from ratified.consensus.contract import Era


class ForPromise(msgspec.Struct, frozen=True, gc=False):
    """To be reported to the proposer of ``ballot``, as what is accepted from slot ``first`` on."""

    ballot: Era
    first: int


class ForLearner(msgspec.Struct, frozen=True, gc=False):
    """To be told to ``member`` as what was chosen."""

    member: int


class ForAcceptor(msgspec.Struct, frozen=True, gc=False):
    """To be proposed to ``member`` once more, in ``ballot``."""

    ballot: Era
    member: int
