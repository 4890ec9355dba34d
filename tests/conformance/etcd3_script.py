"""Run by the Python of ``etcd3_python``: what PyPI's etcd3 client offers, against one node. Exits 0 if all is well."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Iterator

import etcd3


def main(host: str, port: int) -> None:
    client = etcd3.client(host=host, port=port, timeout=20)
    prefix = f"/etcd3/{uuid.uuid4()}"
    check_pairs(client, prefix)
    check_transactions(client, prefix)
    check_watch(client, prefix)
    check_leases(client, prefix)
    check_lock(client, prefix)
    check_cluster(client, prefix)
    client.close()


def check_pairs(client: etcd3.Etcd3Client, prefix: str) -> None:
    client.put(f"{prefix}/a", "1")
    client.put(f"{prefix}/b", "2")
    value, meta = client.get(f"{prefix}/a")
    assert value == b"1"
    assert meta.version == 1
    assert meta.create_revision == meta.mod_revision
    assert [value for value, _ in client.get_prefix(prefix)] == [b"1", b"2"]
    assert [value for value, _ in client.get_prefix(prefix, sort_order="descend")] == [b"2", b"1"]
    assert client.get(f"{prefix}/a", serializable=True)[0] is not None
    assert client.put_if_not_exists(f"{prefix}/a", "3") is False
    assert client.replace(f"{prefix}/a", "1", "4") is True
    assert client.delete(f"{prefix}/a") is True
    assert client.delete(f"{prefix}/a") is False
    assert client.get(f"{prefix}/a") == (None, None)
    assert client.delete_prefix(prefix).deleted == 1


def check_transactions(client: etcd3.Etcd3Client, prefix: str) -> None:
    key = f"{prefix}/txn"
    transactions = client.transactions
    taken, answers = client.transaction(
        compare=[transactions.version(key) == 0],
        success=[transactions.put(key, "first"), transactions.get(key)],
        failure=[transactions.delete(key)],
    )
    assert taken
    assert answers[1][0][0] == b"first"
    taken, answers = client.transaction(
        compare=[transactions.value(key) == "other"], success=[], failure=[transactions.get(key)]
    )
    assert not taken
    assert answers[0][0][0] == b"first"


def check_watch(client: etcd3.Etcd3Client, prefix: str) -> None:
    key = f"{prefix}/watched"
    client.put(key, "0")
    first = client.get(key)[1].mod_revision
    events, cancel = client.watch_prefix(f"{prefix}/watched", start_revision=first)
    other, cancel_other = client.watch(f"{prefix}/other")
    client.put(key, "1")
    client.delete(key)
    client.put(f"{prefix}/other", "x")
    seen = [next(events) for _ in range(3)]
    assert [type(event).__name__ for event in seen] == ["PutEvent", "PutEvent", "DeleteEvent"]
    assert [event.value for event in seen] == [b"0", b"1", b""]
    assert next(other).value == b"x"
    cancel()
    cancel_other()

    seen_by_callback = threading.Event()
    number = client.add_watch_callback(key, lambda response: seen_by_callback.set())
    client.put(key, "2")
    assert seen_by_callback.wait(20)
    client.cancel_watch(number)

    compact_at = client.get(key)[1].mod_revision
    client.compact(compact_at)
    compacted, _ = client.watch(key, start_revision=1)
    assert compacted_revision(compacted) == compact_at


def compacted_revision(events: Iterator[object]) -> int | None:
    """The revision that a watch of something compacted names; None: it gave an event."""
    try:
        next(events)
    except etcd3.exceptions.RevisionCompactedError as error:
        return int(error.compacted_revision)
    return None


def check_leases(client: etcd3.Etcd3Client, prefix: str) -> None:
    lease = client.lease(60)
    client.put(f"{prefix}/leased", "x", lease=lease)
    assert lease.granted_ttl == 60
    assert 0 < lease.remaining_ttl <= 60
    assert list(lease.keys) == [f"{prefix}/leased".encode()]
    (kept,) = lease.refresh()
    assert kept.TTL == 60
    lease.revoke()
    assert client.get(f"{prefix}/leased") == (None, None)


def check_lock(client: etcd3.Etcd3Client, prefix: str) -> None:
    lock = client.lock(f"{prefix}/lock", ttl=60)
    assert lock.acquire(timeout=20)
    assert lock.is_acquired()
    assert lock.release()
    # A lock that somebody holds is not tried: etcd3's waiting does not go with present versions of tenacity.
    following = client.lock(f"{prefix}/lock", ttl=60)
    assert following.acquire(timeout=20)
    assert following.release()


def check_cluster(client: etcd3.Etcd3Client, prefix: str) -> None:
    members = list(client.members)
    assert len(members) == 3
    assert all(member.name for member in members)
    assert all(member.client_urls for member in members)
    status = client.status()
    assert status.leader.id in [member.id for member in members]
    assert status.db_size > 0
    assert list(client.list_alarms()) == []
    client.put(f"{prefix}/hash", "x")
    assert client.hash is not None


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
