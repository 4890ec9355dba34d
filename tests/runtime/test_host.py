"""A host over real sockets and files: what it serves, what it survives, what it refuses."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
from pathlib import Path

import pytest

from ratified import Host, HostConfig, HostFailed, OutcomeUnknown, RequestRefused, StartRefused, StateMachine
from ratified.machine import StateMachineStore, Store
from ratified.runtime import Outcome, Reply, Why, Work
from ratified.storage.files import Directory
from ratified.storage.space import Space
from tests.runtime.cluster import ELECTION_TIMEOUT_US, HEARTBEAT_US, LOG_LIMITS, Journal, running
from tests.runtime.loops import LOOPS, run, until


def alone(directory: Path, *, name: str = "default", token: str = "ratified") -> HostConfig:
    """One member, no network."""
    return HostConfig(
        data_dir=directory,
        name=name,
        token=token,
        heartbeat_us=HEARTBEAT_US,
        election_timeout_us=ELECTION_TIMEOUT_US,
        log_limits=LOG_LIMITS,
    )


@pytest.mark.parametrize("loop", LOOPS)
def test_one_member_needs_nothing_but_a_directory(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        async with await Host.start(HostConfig(data_dir=tmp_path), Journal) as host:
            assert await host.propose(b"one") == b"1"
            assert await host.query(b"") == b"one"
            assert await host.query(b"", linearizable=False) == b"one"
        await host.ended()

    run(main(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_every_member_serves_every_request(tmp_path: Path, loop: str) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            for number, name in enumerate("abcabc", start=1):
                assert await cluster.hosts[name].propose(name.encode()) == b"%d" % number
                for host in cluster.hosts.values():
                    assert await host.query(b"") == b"\n".join(bytes([each]) for each in b"abcabc"[:number])

    run(main(), loop)


def test_a_killed_leader_loses_nothing_acknowledged_and_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            acknowledged: list[bytes] = []

            async def write(name: str, count: int) -> None:
                for _ in range(count):
                    line = f"{name}{len(acknowledged)}".encode()
                    await cluster.hosts[name].propose(line)
                    acknowledged.append(line)

            for _ in range(2):
                leader = await cluster.leader()
                others = [name for name in cluster.hosts if name != leader]
                await write(leader, 20)
                writing = asyncio.gather(*(write(name, 100) for name in others))
                before = len(acknowledged)
                await until(lambda before=before: len(acknowledged) > before + 20)  # type: ignore[misc]
                await cluster.hosts[leader].abort()
                await writing
                back = await cluster.start(leader)
                await back.propose(b"back")
                acknowledged.append(b"back")
                for host in cluster.hosts.values():
                    assert set(acknowledged) <= set((await host.query(b"")).split(b"\n"))

    run(main())


def test_a_proposal_whose_host_is_killed_is_unknown_and_one_after_it_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            host = cluster.hosts["a"]
            await host.propose(b"first")
            proposing = asyncio.ensure_future(host.propose(b"second"))
            await asyncio.sleep(0)
            await host.abort()
            with pytest.raises(OutcomeUnknown):
                await proposing
            with pytest.raises(RequestRefused, match="stopping"):
                await host.propose(b"third")
            await host.ended()

    run(main())


def test_a_whole_cluster_comes_back_from_its_directories(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            await cluster.hosts["a"].propose(b"kept")
            for host in cluster.hosts.values():
                await host.close()
            for name in "abc":
                await cluster.start(name)
            assert [await host.query(b"") for host in cluster.hosts.values()] == [b"kept"] * 3

    run(main())


def test_members_learn_each_others_client_urls(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            host = cluster.hosts["b"]
            await until(lambda: all(member.client_urls for member in host.members()))
            assert {member.name: member.client_urls for member in host.members()} == {
                name: (f"http://{name}.example:2379",) for name in "abc"
            }
            assert {member.peer_urls[0] for member in host.members()} == set(cluster.cluster.values())

    run(main())


def test_many_requests_at_once_are_each_answered_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            await cluster.leader()
            answered: dict[int, Reply] = {}
            open_tokens = set()

            def on_reply(reply: Reply) -> None:
                assert reply.token not in answered
                answered[reply.token] = reply

            for number in range(3000):
                host = cluster.hosts["abc"[number % 3]]
                if host.name == "a":
                    open_tokens.add(host.submit(Work.PROPOSE, 0, b"%d" % number, 7_000_000, on_reply))
                else:
                    host.submit(Work.PROPOSE, 0, b"%d" % number, 7_000_000, lambda _: None)
            await until(lambda: len(answered) == len(open_tokens))
            assert {reply.outcome for reply in answered.values()} == {Outcome.DONE}
            await until(lambda: all(not host.status().open_requests for host in cluster.hosts.values()))
            assert len((await cluster.hosts["b"].query(b"")).split(b"\n")) == 3000

    run(main())


def test_after_a_cancel_no_reply_comes(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(alone(tmp_path), Journal) as host:
            replies: list[Reply] = []
            token = host.submit(Work.PROPOSE, 0, b"one", 7_000_000, replies.append)
            host.cancel(token)
            host.cancel(token)
            assert await host.propose(b"two") in (b"1", b"2")
            assert replies == []

    run(main())


def test_a_callback_that_raises_disturbs_neither_the_host_nor_another_caller(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(alone(tmp_path), Journal) as host:
            await host.propose(b"zero")
            reported: list[object] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
            replies: list[Reply] = []

            def bad(_: Reply) -> None:
                raise ZeroDivisionError

            host.submit(Work.READ_LOCAL, 0, b"", 7_000_000, bad)
            host.submit(Work.READ_LOCAL, 0, b"", 7_000_000, replies.append)
            await until(lambda: bool(replies))
            assert await host.propose(b"one") == b"2"
            assert [type(each) for each in reported] == [ZeroDivisionError]

    run(main())


# ---------------------------------------------------------------------------------------------------------------
# A user's code that raises


class Picky(Journal):
    """Cannot apply one command, and cannot answer one request."""

    def apply(self, command: bytes) -> bytes:
        if command == b"poison":
            raise ValueError("cannot digest this")
        return super().apply(command)

    def query(self, request: bytes) -> bytes:
        if request == b"poison":
            raise KeyError("nothing like it")
        return super().query(request)


def test_an_exception_in_apply_stops_that_group_where_it_is_met_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def open_store(group: int, space: Space) -> Store:
        return StateMachineStore(Picky() if group == 1 else Journal())

    async def main() -> None:
        async with running(tmp_path, open_store, groups=2) as cluster:
            await cluster.hosts["a"].propose(b"fine", group=1)
            with pytest.raises((RequestRefused, OutcomeUnknown)):
                await cluster.hosts["a"].propose(b"poison", group=1, timeout_s=2)
            # The leader meets it when it commits it, the next leader when it does; then the third has no majority.
            await until(lambda: len(notices()) == 2)
            for host in cluster.hosts.values():
                if host.name in {notice.split(":")[0] for notice in notices()}:
                    with pytest.raises(RequestRefused, match="stopped") as refusal:
                        await host.propose(b"more", group=1)
                    assert refusal.value.why is Why.GROUP_STOPPED
                await host.propose(host.name.encode(), group=0)
            assert sorted((await cluster.hosts["b"].query(b"", group=0)).split(b"\n")) == [b"a", b"b", b"c"]

    def notices() -> list[str]:
        return [each.getMessage() for each in caplog.records if "cannot digest this" in each.getMessage()]

    with caplog.at_level(logging.WARNING, "ratified"):
        run(main())
    for notice in notices():
        assert "group 1" in notice
        assert "entry with index 3" in notice
        assert "ValueError" in notice


def test_an_exception_in_a_query_is_told_to_who_asked_and_stops_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(alone(tmp_path), Picky) as host:
            await host.propose(b"fine")
            with pytest.raises(RequestRefused, match="nothing like it"):
                await host.query(b"poison")
            assert await host.query(b"") == b"fine"

    run(main())


# ---------------------------------------------------------------------------------------------------------------
# A disk that fails


def test_a_failing_sync_ends_the_host_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        host = await Host.start(alone(tmp_path), Journal)
        await host.propose(b"durable")

        def fail(self: Directory, file: str) -> None:
            raise OSError(5, os.strerror(5))

        with monkeypatch.context() as broken:
            broken.setattr(Directory, "sync_data", fail)
            with pytest.raises((OutcomeUnknown, RequestRefused)):
                await host.propose(b"not durable")
            with pytest.raises(HostFailed, match="Input/output error"):
                await host.ended()
            await host.close()
        async with await Host.start(alone(tmp_path), Journal) as again:
            assert (await again.query(b"")).startswith(b"durable")

    run(main())


# ---------------------------------------------------------------------------------------------------------------
# Starts that are refused


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


async def refusal(config: HostConfig, replicated: type[StateMachine] = Journal) -> str:
    with pytest.raises(StartRefused) as refused:
        await Host.start(config, replicated)
    return str(refused.value)


def test_a_used_port_is_refused_by_address(tmp_path: Path) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "{}:{}".format(*taken.getsockname())
            cluster = {"a": address, "b": "127.0.0.1:1"}
            text = await refusal(HostConfig(data_dir=tmp_path / "data", name="a", cluster=cluster))
            assert address in text
            assert "in use" in text
        assert not (tmp_path / "data").exists()

    run(main())


def test_a_locked_directory_is_refused_by_path_and_its_owner_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(alone(tmp_path), Journal) as host:
            await host.propose(b"one")
            text = await refusal(alone(tmp_path))
            assert str(tmp_path) in text
            assert "in use" in text
            assert await host.propose(b"two") == b"2"

    run(main())


def test_the_lock_ends_with_the_host(tmp_path: Path) -> None:
    async def main() -> None:
        for _ in range(2):
            host = await Host.start(alone(tmp_path), Journal)
            await host.close()
            host = await Host.start(alone(tmp_path), Journal)
            await host.abort()

    run(main())


def test_a_directory_of_another_cluster_or_member_is_refused_unchanged(tmp_path: Path) -> None:
    async def main() -> None:
        host = await Host.start(alone(tmp_path), Journal)
        await host.propose(b"one")
        await host.close()
        before = contents(tmp_path)
        other_cluster = await refusal(alone(tmp_path, token="another"))
        other_member = await refusal(alone(tmp_path, name="another"))
        for text in (other_cluster, other_member):
            assert str(tmp_path) in text
            assert "belongs to cluster" in text
        assert contents(tmp_path) == before

    run(main())


def test_a_directory_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a plain file")

    async def main() -> None:
        text = await refusal(HostConfig(data_dir=tmp_path / "file"))
        assert str(tmp_path / "file") in text
        assert (tmp_path / "file").read_text() == "a plain file"

    run(main())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0)

    async def main() -> None:
        assert "Permission denied" in await refusal(alone(tmp_path))

    try:
        run(main())
    finally:
        tmp_path.chmod(0o700)


def test_a_damaged_log_is_refused_by_file_and_offset_and_kept(tmp_path: Path) -> None:
    async def main() -> None:
        host = await Host.start(alone(tmp_path), Journal)
        for number in range(20):
            await host.propose(b"%d" % number)
        await host.close()
        (log,) = (
            path for path in tmp_path.iterdir() if path.is_file() and path.stat().st_size == LOG_LIMITS.segment_bytes
        )
        with log.open("r+b") as file:
            file.seek(600)
            file.write(b"\xff" * 8)
        text = await refusal(alone(tmp_path))
        assert log.name in text
        assert any(word.strip(".,:;").isdigit() for word in text.split())
        with (tmp_path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    run(main())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "x", "cluster": {"a": "127.0.0.1:1"}}, "not in the cluster"),
        ({"cluster": {"default": "nonsense"}}, "not of the form host:port"),
        ({"cluster": {"default": "127.0.0.1:1", "b": ()}}, "has no peer address"),
        ({"groups": 0}, "at least one group"),
        ({"heartbeat_us": 2_000_000}, "below the election timeout"),
    ],
)
def test_a_configuration_without_sense_is_refused_before_anything_is_touched(
    tmp_path: Path, wrong: dict[str, object], says: str
) -> None:
    async def main() -> None:
        assert says in await refusal(HostConfig(data_dir=tmp_path / "data", **wrong))  # type: ignore[arg-type]

    run(main())
    assert not (tmp_path / "data").exists()
