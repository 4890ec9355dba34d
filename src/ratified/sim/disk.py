"""A data directory whose disk may lose what was not synced: kept, dropped, or torn at every sector.

1. What the process sees is the page cache: it survives ``kill``. What the disk holds is what was there at the last
   sync, plus any of what was written since: a machine's loss decides, sector by sector.
2. A sector of 512 bytes is written whole or not at all. Of several unsynced writes to one sector any may be the one
   that the disk has.
3. A file's length grows with what is written and is durable with ``sync_data``; before that the file may come back
   shorter, and what is beyond its end is gone.
4. Creations, renames and removals are durable with ``sync_directory``; of those since the last one a machine's loss
   keeps a prefix, as a journalling file system does.
5. Every state is a persistent value: ``fork`` costs a few references however much is stored, so that every crash
   point of a run can be tried for the price of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from ratified.storage.files import WriteAt
from ratified.storage.format import SECTOR

Draw: TypeAlias = Callable[[int], int]
"""``draw(n)`` gives a number from 0 to n - 1. By convention 0 is the choice that loses the most."""

_BITS = 5
_WIDTH = 1 << _BITS
_EMPTY = bytes(SECTOR)


# ---------------------------------------------------------------------------------------------------------------
# A persistent map from sector number to bytes: a radix tree of tuples


_Node: TypeAlias = "tuple[_Node | bytes | None, ...]"
_HOLLOW: _Node = (None,) * _WIDTH


class Sectors:
    """Immutable; a sector that was never written reads as zeros."""

    __slots__ = ("_depth", "_root")

    def __init__(self, root: _Node = _HOLLOW, depth: int = 1) -> None:
        self._root = root
        self._depth = depth

    def get(self, number: int) -> bytes:
        if number >> (_BITS * self._depth):
            return _EMPTY
        node: _Node | bytes | None = self._root
        for shift in range(_BITS * (self._depth - 1), -1, -_BITS):
            if node is None:
                return _EMPTY
            assert isinstance(node, tuple), "leaves are at the bottom"
            node = node[number >> shift & _WIDTH - 1]
        return node if isinstance(node, bytes) else _EMPTY

    def put(self, number: int, data: bytes) -> Sectors:
        """The same with one sector replaced."""
        root, depth = self._root, self._depth
        while number >> (_BITS * depth):
            root = (root, *_HOLLOW[1:])
            depth += 1
        return Sectors(_put(root, _BITS * (depth - 1), number, data), depth)


def _put(node: _Node, shift: int, number: int, data: bytes) -> _Node:
    at = number >> shift & _WIDTH - 1
    below: _Node | bytes = data
    if shift:
        child = node[at]
        below = _put(child if isinstance(child, tuple) else _HOLLOW, shift - _BITS, number, data)
    return (*node[:at], below, *node[at + 1 :])


# ---------------------------------------------------------------------------------------------------------------
# Files


class _Inode(msgspec.Struct, frozen=True, gc=False):
    """A file: as the process sees it, as it was at the last sync, and what was written since."""

    cache: Sectors
    size: int
    synced: Sectors
    synced_size: int
    unsynced: Mapping[int, tuple[bytes, ...]]
    """Sector number -> every version written since the last sync, oldest first."""


_NEW = _Inode(Sectors(), 0, Sectors(), 0, {})


class Disk:
    """A simulated directory, behind ``storage.files.Files``."""

    def __init__(self) -> None:
        self._inodes: Mapping[int, _Inode] = {}
        self._names: Mapping[str, int] = {}
        self._history: tuple[Mapping[str, int], ...] = ({},)
        """The directory as it was at its last sync, and after every change since."""
        self._next_inode = 0

    # -----------------------------------------------------------------------------------------------------------
    # The port

    def names(self) -> Sequence[str]:
        return sorted(self._names)

    def size(self, file: str) -> int:
        return self._inode(file).size

    def read(self, file: str, offset: int, length: int) -> bytes:
        inode = self._inode(file)
        end = min(offset + length, inode.size)
        if offset >= end:
            return b""
        first = offset // SECTOR
        sectors = b"".join(inode.cache.get(number) for number in range(first, (end - 1) // SECTOR + 1))
        return sectors[offset - first * SECTOR : end - first * SECTOR]

    def write(self, file: str, offset: int, data: bytes) -> None:
        """Write all of ``data`` to the page cache."""
        if not data:
            return
        inode = self._inode(file)
        cache, unsynced = inode.cache, dict(inode.unsynced)
        end = offset + len(data)
        for number in range(offset // SECTOR, (end - 1) // SECTOR + 1):
            start = number * SECTOR
            sector = data[max(start - offset, 0) : start + SECTOR - offset]
            if len(sector) < SECTOR:
                lead = max(offset - start, 0)
                before = cache.get(number)
                sector = before[:lead] + sector + before[lead + len(sector) :]
            cache = cache.put(number, sector)
            unsynced[number] = (*unsynced.get(number, ()), sector)
        self._replace(file, _Inode(cache, max(inode.size, end), inode.synced, inode.synced_size, unsynced))

    def sync_data(self, file: str) -> None:
        """fdatasync: the disk has what was written since the last sync, and the length."""
        inode = self._inode(file)
        self._replace(file, _Inode(inode.cache, inode.size, _kept(inode), inode.size, {}))

    def create(self, file: str, length: int) -> None:
        if file in self._names:
            raise FileExistsError(17, "File exists", file)
        self._inodes = {**self._inodes, self._next_inode: msgspec.structs.replace(_NEW, size=length)}
        self._change_names({**self._names, file: self._next_inode})
        self._next_inode += 1

    def rename(self, old: str, new: str) -> None:
        inode = self._number(old)
        self._change_names({**{name: number for name, number in self._names.items() if name != old}, new: inode})

    def remove(self, file: str) -> None:
        self._number(file)
        self._change_names({name: number for name, number in self._names.items() if name != file})

    def sync_directory(self) -> None:
        self._history = (self._names,)
        self._forget_nameless()

    # -----------------------------------------------------------------------------------------------------------
    # The world

    def fork(self) -> Disk:
        """An independent disk in the same state."""
        other = Disk()
        other._inodes, other._names = self._inodes, self._names
        other._history, other._next_inode = self._history, self._next_inode
        return other

    def become(self, other: Disk) -> None:
        """An operator puts another directory in the place of this one."""
        self._inodes, self._names, self._history = other._inodes, other._names, other._history
        self._next_inode = other._next_inode

    def kill(self, under_way: WriteAt | None = None, sectors: int = 0) -> None:
        """The process is gone; the page cache has all that it wrote.

        Of a write that was under way, the first ``sectors`` sectors have got there.
        """
        if under_way is not None:
            end = (under_way.offset // SECTOR + sectors) * SECTOR
            self.write(under_way.file, under_way.offset, under_way.data[: max(end - under_way.offset, 0)])

    def fail_sync(self, file: str) -> None:
        """What a failed fdatasync leaves: the page cache shows what was written and takes it for clean.

        The disk has none of it, and no later sync will write it.
        """
        inode = self._inode(file)
        self._replace(file, _Inode(inode.cache, inode.size, inode.synced, inode.synced_size, {}))

    def lose_machine(self, draw: Draw) -> None:
        """The machine is gone: of what was not synced, ``draw`` says what the disk has.

        Per file (in order of creation): all dropped, all kept, or torn, which draws once for each sector and once
        for the length. For the directory: how many of its changes since the last sync are kept.
        """
        self._names = self._history[draw(len(self._history))] if len(self._history) > 1 else self._history[0]
        self._history = (self._names,)
        self._forget_nameless()
        self._inodes = {number: _after_loss(inode, draw) for number, inode in self._inodes.items()}

    # -----------------------------------------------------------------------------------------------------------

    def _number(self, file: str) -> int:
        if file not in self._names:
            raise FileNotFoundError(2, "No such file or directory", file)
        return self._names[file]

    def _inode(self, file: str) -> _Inode:
        return self._inodes[self._number(file)]

    def _replace(self, file: str, inode: _Inode) -> None:
        self._inodes = {**self._inodes, self._number(file): inode}

    def _change_names(self, names: Mapping[str, int]) -> None:
        self._names = names
        self._history = (*self._history, names)

    def _forget_nameless(self) -> None:
        named = {number for names in self._history for number in names.values()}
        self._inodes = {number: inode for number, inode in self._inodes.items() if number in named}


def _after_loss(inode: _Inode, draw: Draw) -> _Inode:
    fate = draw(3) if inode.unsynced or inode.size != inode.synced_size else 0
    if fate == 0:
        sectors, size = inode.synced, inode.synced_size
    elif fate == 1:
        sectors, size = _kept(inode), inode.size
    else:
        sectors, size = _torn(inode, draw)
    return _Inode(sectors, size, sectors, size, {})


def _kept(inode: _Inode) -> Sectors:
    sectors = inode.synced
    for number, versions in inode.unsynced.items():
        sectors = sectors.put(number, versions[-1])
    return sectors


def _torn(inode: _Inode, draw: Draw) -> tuple[Sectors, int]:
    sectors, size = inode.synced, inode.synced_size
    if inode.size != inode.synced_size and draw(2):
        size = inode.size
    for number in sorted(inode.unsynced):
        versions = inode.unsynced[number]
        version = draw(1 + len(versions))
        if version:
            sectors = sectors.put(number, versions[version - 1])
            size = max(size, min((number + 1) * SECTOR, inode.size))
    return sectors, size
