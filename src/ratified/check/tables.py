"""Work that leaves something behind: at rest every table of a node has returned to its size.

A node says how much each of its tables holds, and how much it may hold at rest (``contract.Size``). Something small is
on its way at any time, a heartbeat perhaps; so a table has returned when it was seen so once, or is gone.
"""

from __future__ import annotations

from ratified.consensus.contract import Size, Sizes


class Tables:
    """Those of all members, from the first sample at rest on."""

    def __init__(self) -> None:
        self._swollen: dict[tuple[int, str], Size] | None = None

    def sampled(self, members: dict[int, Sizes]) -> None:
        """What every member's tables hold at one time."""
        swollen = {
            (member, name): size
            for member, sizes in members.items()
            for name, size in sizes.items()
            if size.holds > size.at_rest_max
        }
        if self._swollen is not None:
            swollen = {table: size for table, size in swollen.items() if table in self._swollen}
        self._swollen = swollen

    @property
    def swollen(self) -> list[str]:
        """The tables that have not returned to their size yet; none before the first sample."""
        return [
            f"member {member}'s table of {name} holds {size.holds}, and at rest it may hold {size.at_rest_max}"
            for (member, name), size in (self._swollen or {}).items()
        ]
