"""The real directory: what it is asked, with few descriptors, and with none left in the process."""

from __future__ import annotations

import errno
import os
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ratified.storage.descriptors import SPARE_DESCRIPTORS, SpareDescriptors
from ratified.storage.files import OPEN_FILES_MAX, Directory


def open_files(path: Path) -> set[str]:
    """The files of the directory that this process has open."""
    known = {(status.st_dev, status.st_ino): file.name for file in path.iterdir() for status in [file.stat()]}
    found = set()
    for number in os.listdir("/dev/fd"):
        try:
            status = os.fstat(int(number))
        except OSError:
            continue  # the listing's own
        found.add(known.get((status.st_dev, status.st_ino), ""))
    return found - {""}


def next_segment(files: Directory, number: int) -> str:
    """What a job does where a segment is full; the new one's name."""
    name = f"{number}.log"
    files.create(name + ".new", 512)
    files.rename(name + ".new", name)
    files.sync_directory()
    files.write(name, 0, b"%d" % number)
    files.sync_data(name)
    return name


@contextmanager
def no_descriptor_left(but: int = 0) -> Iterator[list[int]]:
    """Meanwhile the process can open ``but`` files and no more; the descriptors that are in the way are yielded."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))) + 30, hard))
    try:
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        for _ in range(but):
            os.close(taken.pop())
        yield taken
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


# ---------------------------------------------------------------------------------------------------------------
# Few descriptors. The claims are functions, so that they can be shown to fail where a rule is taken out.


def few_are_open_however_many_there_are(path: Path) -> None:
    files = Directory(path)
    for number in range(5 * OPEN_FILES_MAX):
        next_segment(files, number)
        assert len(open_files(path)) <= OPEN_FILES_MAX
    for number in range(5 * OPEN_FILES_MAX):
        assert files.read(f"{number}.log", 0, 9).rstrip(b"\0") == b"%d" % number
        assert len(open_files(path)) <= OPEN_FILES_MAX
    files.close()
    assert open_files(path) == set()


def the_file_that_was_written_last_stays_open(path: Path) -> None:
    files = Directory(path)
    for number in range(3 * OPEN_FILES_MAX):
        newest = next_segment(files, number)
    for number in range(3 * OPEN_FILES_MAX - 1):
        files.read(f"{number}.log", 0, 1)
        assert newest in open_files(path)
    files.close()


def what_is_not_synced_stays_open(path: Path) -> None:
    files = Directory(path)
    files.create("created", 0)
    next_segment(files, 0)
    files.write("0.log", 0, b"again")
    for number in range(1, 3 * OPEN_FILES_MAX):
        next_segment(files, number)
        assert {"created", "0.log"} <= open_files(path)
    files.sync_data("created")
    files.sync_data("0.log")
    for number in range(1, 3 * OPEN_FILES_MAX):
        files.read(f"{number}.log", 0, 1)
    assert not {"created", "0.log"} & open_files(path)
    files.close()


def a_segment_is_made_where_no_descriptor_is_left(path: Path) -> None:
    spares = SpareDescriptors(OPEN_FILES_MAX)
    files = Directory(path, spares)
    next_segment(files, 0)
    with no_descriptor_left():
        for number in range(1, 3 * OPEN_FILES_MAX):
            next_segment(files, number)
        for number in range(3 * OPEN_FILES_MAX):
            assert files.size(f"{number}.log") == 512
    files.close()
    spares.close()


CLAIMS: list[Callable[[Path], None]] = [
    few_are_open_however_many_there_are,
    the_file_that_was_written_last_stays_open,
    what_is_not_synced_stays_open,
    a_segment_is_made_where_no_descriptor_is_left,
]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_that(claim: Callable[[Path], None], tmp_path: Path) -> None:
    claim(tmp_path)


def _closes_nothing(files: Directory) -> None:
    pass


def _closes_the_oldest_whatever_it_is(files: Directory) -> None:
    while len(files._descriptors) >= OPEN_FILES_MAX:
        files._forget(next(iter(files._descriptors)))


def _opens_without_spares(spares: SpareDescriptors, path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _makes_nothing_up(spares: SpareDescriptors) -> None:
    pass


@pytest.mark.parametrize(
    ("owner", "method", "mutant", "caught_by"),
    [
        (Directory, "_make_room", _closes_nothing, few_are_open_however_many_there_are),
        (Directory, "_make_room", _closes_the_oldest_whatever_it_is, the_file_that_was_written_last_stays_open),
        (Directory, "_make_room", _closes_the_oldest_whatever_it_is, what_is_not_synced_stays_open),
        (SpareDescriptors, "open", _opens_without_spares, a_segment_is_made_where_no_descriptor_is_left),
        (SpareDescriptors, "refill", _makes_nothing_up, a_segment_is_made_where_no_descriptor_is_left),
    ],
)
def test_a_rule_that_is_taken_out_is_missed(
    owner: type,
    method: str,
    mutant: object,
    caught_by: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, method, mutant)
    with pytest.raises((AssertionError, OSError)):
        caught_by(tmp_path)


def test_it_does_what_a_plain_directory_does_whatever_it_closes_in_between(tmp_path: Path) -> None:
    draw = random.Random(1)
    files = Directory(tmp_path)
    model: dict[str, bytearray] = {}
    for _ in range(2000):
        name = f"file{draw.randrange(40)}"
        if name not in model:
            files.create(name, 100)
            model[name] = bytearray(100)
        elif draw.random() < 0.4:
            offset, data = draw.randrange(150), draw.randbytes(draw.randrange(20))
            files.write(name, offset, data)
            if data:
                model[name].extend(bytes(max(0, offset + len(data) - len(model[name]))))
                model[name][offset : offset + len(data)] = data
            if draw.random() < 0.9:
                files.sync_data(name)
        elif draw.random() < 0.1:
            files.rename(name, new := f"file{draw.randrange(40)}")
            model[new] = model.pop(name)
        elif draw.random() < 0.05:
            files.remove(name)
            del model[name]
        else:
            assert files.read(name, 0, 1000) == model[name]
            assert files.size(name) == len(model[name])
    assert files.names() == sorted(model)
    files.close()


# ---------------------------------------------------------------------------------------------------------------
# Spares


def test_a_spare_goes_to_the_file_and_is_made_up_when_one_is_free_again(tmp_path: Path) -> None:
    spares = SpareDescriptors(3)
    with no_descriptor_left() as taken:
        opened = [spares.open(tmp_path, os.O_RDONLY) for _ in range(3)]
        with pytest.raises(OSError, match="Too many open files") as refusal:
            spares.open(tmp_path, os.O_RDONLY)
        assert refusal.value.errno == errno.EMFILE
        spares.refill()
        for _ in range(2):
            os.close(taken.pop())
        spares.refill()
        opened += [spares.open(tmp_path, os.O_RDONLY) for _ in range(2)]
        with pytest.raises(OSError, match="Too many open files"):
            spares.open(tmp_path, os.O_RDONLY)
    for descriptor in opened:
        os.close(descriptor)
    spares.close()


@pytest.mark.parametrize("stolen", [SPARE_DESCRIPTORS - 1, SPARE_DESCRIPTORS])
def test_a_spare_that_somebody_else_takes_first_is_followed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stolen: int
) -> None:
    spares = SpareDescriptors(SPARE_DESCRIPTORS)
    close = os.close
    thief: list[int] = []

    def close_and_lose(descriptor: int) -> None:
        close(descriptor)
        if len(thief) < stolen:
            thief.append(os.dup(0))

    with no_descriptor_left():
        monkeypatch.setattr(os, "close", close_and_lose)
        try:
            if stolen < SPARE_DESCRIPTORS:
                close(spares.open(tmp_path, os.O_RDONLY))
            else:
                with pytest.raises(OSError, match="Too many open files"):
                    spares.open(tmp_path, os.O_RDONLY)
        finally:
            monkeypatch.undo()
    for descriptor in thief:
        close(descriptor)
    spares.close()


def test_there_is_a_spare_for_each_file_that_may_be_open_for_the_directory_and_for_some_that_are_lost() -> None:
    assert SPARE_DESCRIPTORS >= OPEN_FILES_MAX + 1 + 4


def test_other_errors_take_no_spare(tmp_path: Path) -> None:
    spares = SpareDescriptors(1)
    with pytest.raises(FileNotFoundError):
        spares.open(tmp_path / "missing", os.O_RDONLY)
    with no_descriptor_left():
        os.close(spares.open(tmp_path, os.O_RDONLY))
    spares.close()


def test_a_machine_without_descriptors_is_met_like_a_process_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spares = SpareDescriptors(1)
    real = os.open
    failures = [OSError(errno.ENFILE, os.strerror(errno.ENFILE))]

    def full_once(path: Path, flags: int, mode: int) -> int:
        if failures:
            raise failures.pop()
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", full_once)
    os.close(spares.open(tmp_path, os.O_RDONLY))
    spares.close()
