"""What users of a host meet as exceptions."""

from __future__ import annotations

from ratified.node.ports import Reason


class RatifiedError(Exception):
    """The root of everything that a host raises on purpose."""


class StartRefused(RatifiedError):
    """The host did not start; the message says what was found, where, and what to do. Nothing was changed."""


class HostFailed(RatifiedError):
    """The host had to stop and will not go on; the message says why. What was acknowledged is in the data directory."""


class RequestRefused(RatifiedError):
    """Nothing of the request has happened or will happen; it may be sent again."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"refused: {reason}: {detail}" if detail else f"refused: {reason}")
        self.reason = reason


class ResultInvalid(RatifiedError, TypeError):
    """The command was applied, and the machine's ``apply`` returned something other than bytes for it."""


class OutcomeUnknown(RatifiedError):
    """The request may have happened, or may happen yet: ask the state before sending it again."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"the outcome is unknown: {reason}")
        self.reason = reason
