"""A host over real sockets and files: what it serves, what it survives, what it refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ratified import Host, HostConfig, OutcomeUnknown, RequestRefused
from ratified.runtime import Outcome, Reply, Work
from tests.runtime.cluster import Journal, alone, running
from tests.runtime.loops import LOOPS, run, until


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
            host.submit(Work.PROPOSE, 0, b"two", 7_000_000, bad)
            host.submit(Work.PROPOSE, 0, b"three", 7_000_000, replies.append)
            await host.abort()
            await until(lambda: len(replies) == 2)
            assert replies[1].outcome is Outcome.UNKNOWN
            assert len(reported) == 2

    run(main())
