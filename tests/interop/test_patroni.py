"""Patroni keeps a pair of PostgreSQL servers on three nodes, as a user who may touch its own keys alone."""

from __future__ import annotations

from pathlib import Path

from ratified.client import Client
from ratified.testing.processes import LocalCluster, LocalNode
from tests.interop.patroni import Machine, await_roles, needs_machines, wait_for

PASSWORD = "of patroni"
ROOT_PASSWORD = "of root"


def admit_patroni(endpoints: list[str]) -> None:
    with Client(endpoints) as client:
        client.auth.add_user("root", ROOT_PASSWORD)
        client.auth.add_role("root")
        client.auth.grant_role("root", "root")
        client.auth.add_user("patroni", PASSWORD)
        client.auth.add_role("patroni")
        client.auth.grant_permission("patroni", "readwrite", "/service/", prefix=True)
        client.auth.grant_role("patroni", "patroni")
        client.auth.enable()


def leader_of(cluster: LocalCluster) -> LocalNode:
    with Client(cluster.endpoints, user="root", password=ROOT_PASSWORD) as client:
        status = client.status(cluster.nodes[0].endpoint)
        (name,) = (member.name for member in client.members() if member.id == status.leader)
    return next(node for node in cluster.nodes if node.name == name)


@needs_machines
def test_a_pair_fails_over_while_our_leader_is_killed_and_is_a_pair_again(tmp_path: Path) -> None:
    with LocalCluster(tmp_path / "nodes") as cluster:
        admit_patroni(cluster.endpoints)
        etcd = {"hosts": cluster.endpoints, "username": "patroni", "password": PASSWORD}
        with Machine(tmp_path, "one", etcd) as one, Machine(tmp_path, "two", etcd) as two:
            one.start()
            wait_for("one leads", lambda: one.members() == {"one": ("Leader", "running")} or None)
            two.start()
            await_roles((one, two), leader="one", replica="two")
            one.sql("CREATE TABLE said (word text)")
            one.sql("INSERT INTO said VALUES (%s)", "before")
            wait_for("two has it", lambda: two.sql("SELECT word FROM said") or None)

            killed = leader_of(cluster)
            one.kill()
            killed.kill()
            wait_for("two leads", lambda: two.sql("SELECT 1 WHERE NOT pg_is_in_recovery()") or None)
            two.sql("INSERT INTO said VALUES (%s)", "meanwhile")

            killed.start()
            killed.wait_ready()
            one.start()
            await_roles((one, two), leader="two", replica="one")
            two.ctl("switchover", "--leader=two", "--candidate=one", "--force")
            await_roles((one, two), leader="one", replica="two")
            one.sql("INSERT INTO said VALUES (%s)", "after")
            wanted = [("before",), ("meanwhile",), ("after",)]
            wait_for("two has all", lambda: two.sql("SELECT word FROM said") == wanted or None)

            two.ctl("edit-config", "--set=loop_wait=2", "--force")
            assert "loop_wait: 2" in one.ctl("show-config")
