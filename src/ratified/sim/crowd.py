"""Everybody who asks something of the nodes, and the way of a reply to whom it is for.

A token's upper half is the number of who asked (0: the register clients together), its lower half is theirs.
"""

from __future__ import annotations

from typing import Protocol

from ratified.node.ports import Reply
from ratified.sim.clients import Clients

NUMBER_SHIFT = 32


class Guest(Protocol):
    """One client with one request under way."""

    @property
    def token(self) -> int:
        """Of the request under way, or the last one."""

    @property
    def open(self) -> bool:
        """Is a request under way?"""

    def replied(self, reply: Reply) -> None:
        """The node replied to it."""

    def process_gone(self, member: int) -> None:
        """The process on this member's machine is gone."""


class Crowd:
    """All of them, as the machines see them."""

    def __init__(self, clients: Clients, guests: dict[int, Guest]) -> None:
        self._clients = clients
        self._guests = guests

    def replied(self, member: int, reply: Reply) -> None:
        """A node replied; what nobody waits for any more is dropped."""
        number = reply.token >> NUMBER_SHIFT
        if number == 0:
            self._clients.replied(member, reply)
            return
        guest = self._guests[number]
        if guest.open and guest.token == reply.token:
            guest.replied(reply)

    def process_gone(self, member: int) -> None:
        """All requests open on this member's process ended without a reply."""
        self._clients.process_gone(member)
        for guest in self._guests.values():
            guest.process_gone(member)
