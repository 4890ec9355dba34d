"""The one exception with which a request fails; ``wire.etcd.errors`` is the table of its codes and texts."""

from __future__ import annotations


class EtcdError(Exception):
    """One of etcd's errors, for the client: ``raise EtcdError(*errors.EMPTY_KEY)``. ``code`` is gRPC's number.

    While applying it is raised before anything was written, and becomes the result.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
