"""PyPI's clients hear from a fresh node what they hear from a fresh etcd: aetcd and etcd3gw, etcd-client-py, which is
Rust's etcd-client, and OpenStack's tooz."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aetcd
import etcd_client
import pytest
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception
from tooz import coordination

from ratified.client import Client
from tests.conformance.reference import etcd_35
from tests.server.test_process import Place

TIMEOUT_S = 20
ROOT = {"username": "root", "password": "right"}


@pytest.fixture
def endpoints(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Of a node, and of an etcd, in which nothing is."""
    with ExitStack() as stack:
        etcd = stack.enter_context(etcd_35(tmp_path / "etcd"))
        yield stack.enter_context(Place(tmp_path).serving()).endpoint, etcd


def pair(got: Any) -> object:
    """What there is to tell of a pair of aetcd's."""
    return got and (got.key, got.value, got.create_revision, got.mod_revision, got.version, got.lease)


async def aetcds_pairs(client: aetcd.Client, told: list[object]) -> None:
    told.append((await client.put(b"a", b"1")).header.revision)
    told.append(pair((await client.put(b"a", b"2", prev_kv=True)).prev_kv))
    for name in (b"/n/c", b"/n/a", b"/n/b"):
        await client.put(name, name * 2)
    told.append(pair(await client.get(b"a")))
    told.append(await client.get(b"nothing"))
    told.append([pair(each) for each in await client.get_prefix(b"/n/", sort_order="descend", sort_target="mod")])
    told.append([pair(each) for each in await client.get_prefix(b"/n/", keys_only=True)])
    told.append([pair(each) for each in await client.get_range(b"/n/a", b"/n/c")])
    told.append(len(await client.get_all()))
    told.append([await client.replace(b"a", b"2", b"3"), await client.replace(b"a", b"2", b"4")])
    told.append(pair((await client.delete(b"a", prev_kv=True)).prev_kv))
    told.append(await client.delete(b"a"))
    told.append((await client.delete_prefix(b"/n/")).deleted)


async def aetcds_transactions(client: aetcd.Client, told: list[object]) -> None:
    on = client.transactions
    await client.put(b"t", b"1")
    for compared in (on.value(b"t") == b"1", on.version(b"t") > 5, on.create(b"t") < 1, on.mod(b"t") != 3):
        done, answers = await client.transaction([compared], [on.get(b"t")], [on.put(b"u", b"x"), on.get(b"u")])
        told.append((done, [[pair(each) for _, each in found] for found in answers if isinstance(found, list)]))


async def aetcds_watches(client: aetcd.Client, told: list[object]) -> None:
    watch = await client.watch_prefix(b"/w/", prev_kv=True)
    other = await client.watch(b"/w/b", kind=aetcd.rtypes.EventKind.DELETE)
    await client.put(b"/w/a", b"1")
    await client.put(b"/w/b", b"2")
    await client.delete(b"/w/b")
    events = aiter(watch)
    for _ in range(3):
        event = await anext(events)
        told.append((event.kind, pair(event.kv), pair(event.prev_kv)))
    told.append(pair((await anext(aiter(other))).kv))
    await watch.cancel()
    await other.cancel()
    revision = (await client.put(b"/w/a", b"3")).header.revision
    old = await client.watch(b"/w/a", start_revision=revision - 1)
    told.append(pair((await anext(aiter(old))).kv))
    await client.compact(revision, physical=True)
    try:
        await anext(aiter(await client.watch(b"/w/a", start_revision=2)))
    except aetcd.RevisionCompactedError as error:
        told.append(error.compacted_revision)


async def aetcds_leases(client: aetcd.Client, told: list[object]) -> None:
    lease = await client.lease(60, lease_id=77)
    await client.put(b"leased", b"1", lease=lease)
    told.append((lease.id, lease.ttl, await lease.granted_ttl(), [bytes(key) for key in await lease.keys()]))
    told.append((await lease.refresh()).TTL)
    await lease.revoke()
    told.append(await client.get(b"leased"))
    short = await client.lease(1)
    await client.put(b"short", b"1", lease=short)
    watch = await client.watch(b"short")
    told.append((await anext(aiter(watch))).kind)
    await watch.cancel()
    async with client.lock(b"lock", ttl=20) as held:
        told.append((await held.is_acquired(), await client.lock(b"lock").acquire(timeout=1)))
    told.append(await held.is_acquired())


async def aetcds_maintenance(client: aetcd.Client, told: list[object]) -> None:
    status = await client.status()
    told.append((status.version[:3], status.leader is not None, status.db_size > 0))
    told.append([(member.name, len(member.client_urls)) async for member in client.members()])
    told.append([each async for each in client.list_alarms()])
    told.append(await client.defragment())
    told.append(isinstance(await client.hash(), int))
    saved = io.BytesIO()
    await client.snapshot(saved)
    told.append(len(saved.getvalue()) > 0)


async def hear_by_aetcd(endpoint: str) -> list[object]:
    told: list[object] = []
    host, _, port = endpoint.partition(":")
    async with aetcd.Client(host, int(port), timeout=TIMEOUT_S) as client:
        for part in (aetcds_pairs, aetcds_transactions, aetcds_watches, aetcds_leases, aetcds_maintenance):
            await part(client, told)
    have_users_count(endpoint)
    async with aetcd.Client(host, int(port), timeout=TIMEOUT_S, **ROOT) as client:
        told.append((await client.put(b"by root", b"1")).header.revision)
    for refused in ({}, ROOT | {"password": "wrong"}):
        try:
            async with aetcd.Client(host, int(port), timeout=TIMEOUT_S, **refused) as client:
                await client.put(b"by nobody", b"1")
        except aetcd.ClientError as error:
            told.append((type(error).__name__, str(error)))
    return told


def have_users_count(endpoint: str) -> None:
    with Client([endpoint]) as client:
        client.auth.add_user(ROOT["username"], ROOT["password"])
        client.auth.add_role("root")
        client.auth.grant_role("root", "root")
        client.auth.enable()


def test_aetcd_hears_the_same(endpoints: tuple[str, str]) -> None:
    ours, etcds = (asyncio.run(hear_by_aetcd(endpoint)) for endpoint in endpoints)
    assert ours == etcds
    assert len(ours) > 30


def hear_by_etcd3gw(endpoint: str) -> list[object]:
    host, _, port = endpoint.partition(":")
    client = Etcd3Client(host, int(port), timeout=TIMEOUT_S, api_path=None)  # it finds the path by itself
    told: list[object] = [client.api_path, client.create("a", "1"), client.create("a", "2"), client.get("a", True)]
    told += [client.replace("a", "1", "3"), client.replace("a", "1", "4"), client.put("b", "5"), client.get("nothing")]
    told += [client.get_prefix("a", sort_order="descend"), client.get_all(sort_target="mod"), client.delete("a")]
    lease = client.lease(60)
    told += [client.put("leased", "1", lease), lease.keys(), 50 < lease.ttl() <= 60, lease.refresh(), lease.revoke()]
    told += [client.get("leased"), client.delete("a"), client.delete_prefix("b")]
    with client.lock("lock", ttl=20) as held:
        told += [held.is_acquired(), client.lock("lock").acquire(), held.refresh()]
    told.append(held.is_acquired())
    events, cancel = client.watch_prefix("w")
    client.put("wa", "1")
    client.delete("wa")
    told += [next(events), next(events)]
    cancel()
    told.append([sorted(member) for member in client.members()])
    told.append(sorted({*client.status()} & {"header", "version", "dbSize", "leader", "raftIndex", "raftTerm"}))
    wrongs: list[dict[str, Any]] = [{"compare": [{"key": "?"}]}, {"success": [{"request_range": {}}]}, {"success": 7}]
    for wrong in wrongs:
        try:
            told.append(client.transaction(wrong))
        except Etcd3Exception as error:
            told.append(str(error))
    return [without_ids(each) for each in told]


def without_ids(told: Any) -> object:
    """Without what a server draws."""
    if isinstance(told, dict):
        drawn = ("cluster_id", "member_id", "raft_term")
        return {key: without_ids(value) for key, value in told.items() if key not in drawn}
    return [without_ids(each) for each in told] if isinstance(told, list | tuple) else told


def test_etcd3gw_hears_the_same(endpoints: tuple[str, str]) -> None:
    ours, etcds = (hear_by_etcd3gw(endpoint) for endpoint in endpoints)
    assert ours == etcds
    assert len(ours) > 20


async def hear_by_rusts(endpoint: str) -> list[object]:
    told: list[object] = []
    async with etcd_client.Client([f"http://{endpoint}"]).connect() as client:
        for name in (b"r/a", b"r/b", b"s"):
            await client.put(name, name * 2)
        told.append([bytes(await client.get(b"r/a")), await client.get(b"nothing")])
        told.append([[bytes(part) for part in each] for each in await client.get_prefix(b"r/")])
        told.append([bytes(each) for each in await client.keys_prefix(b"r/")])
        told.append(await client.lease_grant(60))
        equal = etcd_client.CompareOp.EQUAL
        for wanted in (b"ss", b"other"):
            compared = etcd_client.Txn().when([etcd_client.Compare.value(b"s", equal, wanted)])
            done = await client.txn(compared.and_then([etcd_client.TxnOp.put(b"s", b"1"), etcd_client.TxnOp.get(b"s")]))
            told.append(done.succeeded())
        await client.lock(b"mutex")
        (held,) = await client.keys_prefix(b"mutex/")
        await client.unlock(bytes(held))
        told.append(await client.keys_prefix(b"mutex/"))
        ready = etcd_client.CondVar()
        events = client.watch_prefix(b"w/", ready_event=ready)
        first = asyncio.ensure_future(anext(aiter(events)))
        await ready.wait()
        await client.put(b"w/1", b"v")
        event = await asyncio.wait_for(first, TIMEOUT_S)
        told.append((bytes(event.key), bytes(event.value), str(event.event)))
        await client.delete_prefix(b"r/")
        told.append(await client.get_prefix(b"r/"))
        for refused in (client.put(b"", b"x"), client.lease_revoke(5)):
            try:
                await refused
            except etcd_client.GRPCStatusError as error:
                told.append(str(error))
    return told


def test_rusts_etcd_client_hears_the_same(endpoints: tuple[str, str]) -> None:
    ours, etcds = (asyncio.run(hear_by_rusts(endpoint)) for endpoint in endpoints)
    assert ours == etcds
    assert len(ours) > 10


def hear_by_tooz(endpoint: str) -> list[object]:
    told: list[object] = []
    members = [coordination.get_coordinator(f"etcd3+http://{endpoint}", name) for name in (b"one", b"two")]
    for member in members:
        member.start(start_heart=True)
    one, two = members
    one.create_group(b"group").get()
    for member in members:
        member.join_group(b"group", capabilities={"speaks": "etcd"}).get()
    told.append(sorted(one.get_members(b"group").get()))
    told.append(one.get_member_capabilities(b"group", b"two").get())
    with one.get_lock(b"lock"):
        told.append(two.get_lock(b"lock").acquire(blocking=False))
    told.append(two.get_lock(b"lock").acquire(blocking=False))
    two.leave_group(b"group").get()
    told.append([sorted(one.get_members(b"group").get()), one.get_groups().get()])
    for member in members:
        member.stop()
    return told


def test_tooz_hears_the_same(endpoints: tuple[str, str]) -> None:
    ours, etcds = (hear_by_tooz(endpoint) for endpoint in endpoints)
    assert ours == etcds
