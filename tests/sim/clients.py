"""Clients of a simulated cluster that ask for nothing."""

from ratified.node.ports import Reply


class Nobody:
    def replied(self, member: int, reply: Reply) -> None:
        raise AssertionError("nobody has asked")

    def process_gone(self, member: int) -> None:
        """Nobody waits."""


NOBODY = Nobody()
