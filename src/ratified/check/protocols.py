"""The one table of the protocols' own checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from ratified.check.image import LogImage
from ratified.check.raft import RaftChecks


class ProtocolChecks(Protocol):
    """What a protocol's own invariants say of messages."""

    def leaves(self, sender: int, target: int, message: Any, disk: LogImage) -> None:
        """``message`` leaves ``sender``, whose disk holds ``disk`` durably; raises ``Violation``."""


PROTOCOLS: dict[str, Callable[[Counter[str]], ProtocolChecks]] = {"raft": RaftChecks}
"""By the engine's name, the checks of one group; they count what they see happen."""
