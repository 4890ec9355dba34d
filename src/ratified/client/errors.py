"""How a call can fail, and what is known then."""

from __future__ import annotations


class ClientError(Exception):
    """A call did not give a result. ``code`` is gRPC's name of the status, ``text`` what the server said."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class CallRefused(ClientError):
    """The server refused: nothing of the call has happened or will happen."""


class Compacted(CallRefused):
    """The revision is gone. ``revision`` is the first that can still be watched (0: the server did not say)."""

    def __init__(self, text: str, revision: int = 0) -> None:
        super().__init__("OUT_OF_RANGE", text)
        self.revision = revision


class Unavailable(ClientError):
    """No endpoint took the call in time; nothing of it has happened."""


class CallOutcomeUnknown(ClientError):
    """The call may have happened, or may happen yet."""
