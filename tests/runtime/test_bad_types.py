"""A wrong type from one caller, or from one method of the machine, concerns that request and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from typing_extensions import override

from ratified import Host, HostConfig, RequestRefused, ResultInvalid, StateMachine
from ratified.runtime import Work
from tests.runtime.cluster import LOG_LIMITS
from tests.runtime.loops import run


class Forgetful(StateMachine):
    """Returns what it is told to: bytes, text, or nothing."""

    def __init__(self) -> None:
        self.applied = 0

    @override
    def apply(self, command: bytes) -> bytes:
        self.applied += 1
        return cast(bytes, {b"none": None, b"text": "text", b"list": []}.get(command, b"%d" % self.applied))

    @override
    def query(self, request: bytes) -> bytes:
        return cast(bytes, {b"none": None, b"text": "text"}.get(request, b"%d" % self.applied))

    @override
    def snapshot(self) -> bytes:
        return b"%d" % self.applied

    @override
    def restore(self, pieces: Iterable[bytes]) -> None:
        self.applied = int(b"".join(pieces))


def host_of(directory: Path) -> HostConfig:
    return HostConfig(data_dir=directory, log_limits=LOG_LIMITS)


@pytest.mark.parametrize("method", ["propose", "query", "ask"])
@pytest.mark.parametrize("wrong", ["text", None, bytearray(b"x"), memoryview(b"x"), 7, [b"x"]])
def test_what_is_no_bytes_is_a_type_error_to_its_caller(tmp_path: Path, method: str, wrong: Any) -> None:
    async def main() -> None:
        async with await Host.start(host_of(tmp_path), Forgetful) as host:
            with pytest.raises(TypeError, match="a request is bytes, not"):
                await getattr(host, method)(wrong)
            assert await host.propose(b"x") == b"1"

    run(main())


def test_a_stream_and_a_callback_are_told_at_once_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(host_of(tmp_path), Forgetful) as host:
            with pytest.raises(TypeError):
                async for _ in host.stream(cast(bytes, "text")):
                    pass
            with pytest.raises(TypeError):
                host.submit(Work.PROPOSE, 0, cast(bytes, None), 1_000_000, lambda reply: None)
            assert host.status().open_requests == 0
            assert await host.propose(b"x") == b"1"

    run(main())


@pytest.mark.parametrize("group", ["0", None, [], 0.5])
def test_a_group_that_is_no_number_is_a_type_error_to_its_caller(tmp_path: Path, group: Any) -> None:
    async def main() -> None:
        async with await Host.start(host_of(tmp_path), Forgetful) as host:
            with pytest.raises(TypeError, match="a group is a number, not"):
                await host.propose(b"x", group=group)
            assert await host.propose(b"x") == b"1"

    run(main())


@pytest.mark.parametrize(("command", "named"), [(b"none", "NoneType"), (b"text", "str"), (b"list", "list")])
def test_a_result_that_is_no_bytes_is_told_to_its_proposer_and_the_command_stays_applied(
    tmp_path: Path, command: bytes, named: str
) -> None:
    async def main() -> None:
        async with await Host.start(host_of(tmp_path), Forgetful) as host:
            with pytest.raises(ResultInvalid, match=f"apply returned {named}, not bytes"):
                await host.propose(command)
            assert await host.propose(b"x") == b"2"
        async with await Host.start(host_of(tmp_path), Forgetful) as again:
            assert await again.query(b"x") == b"2"

    run(main())


@pytest.mark.parametrize(("request_", "named"), [(b"none", "NoneType"), (b"text", "str")])
def test_an_answer_that_is_no_bytes_is_told_to_who_asked(tmp_path: Path, request_: bytes, named: str) -> None:
    async def main() -> None:
        async with await Host.start(host_of(tmp_path), Forgetful) as host:
            for asking in (host.query(request_), host.query(request_, linearizable=False), host.ask(request_)):
                with pytest.raises(RequestRefused, match=f"query returned {named}, not bytes"):
                    await asking
            assert await host.propose(b"x") == b"1"

    run(main())
