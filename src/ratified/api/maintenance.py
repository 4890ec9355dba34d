"""Maintenance: Status, Alarm, MoveLeader, HashKV; and our own ``ratified.v1.Node/Report`` for people.

Snapshot has a module of its own.
"""

from __future__ import annotations

import msgspec

from ratified.api.access import Access
from ratified.api.submission import Submission
from ratified.kv import queries
from ratified.kv.errors import EtcdError
from ratified.runtime import Work
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    HashKVRequest,
    MoveLeaderRequest,
    StatusRequest,
    StatusResponse,
)
from ratified.wire.report import NodeReport

ETCD_VERSION = "3.5.0"
"""The version of etcd whose API this is: what clients that look for one want to see."""


async def status(access: Access, request: StatusRequest, data: bytes) -> bytes:
    """This member's own view; answered without a leader too."""
    host = access.service.host
    leader = host.leader()
    engine = host.status().node.groups[0].engine
    answer = StatusResponse(
        version=ETCD_VERSION,
        leader=leader or 0,
        raftIndex=engine.commit,
        raftTerm=host.raft_term(),
        raftAppliedIndex=engine.applied,
    )
    if leader is None:
        answer.errors.append(errors.NO_LEADER.text)
    return await access.query(queries.status(), linearizable=False) + answer.SerializeToString()


async def alarm(access: Access, request: AlarmRequest, data: bytes) -> bytes:
    """No alarms are kept in this version: there is none to list, and none to raise or clear."""
    await access.check_asks()
    if request.action != AlarmRequest.GET:
        raise EtcdError(*errors.ALARMS_NOT_KEPT)
    status = StatusResponse.FromString(await access.query(queries.status(), linearizable=False))
    return AlarmResponse(header=status.header).SerializeToString()


async def move_leader(access: Access, request: MoveLeaderRequest, data: bytes) -> bytes:
    """Hand the lead to another voter; only the leader does that."""
    await access.check_manages()
    host = access.service.host
    if host.leader() != host.member:
        raise EtcdError(*errors.NOT_LEADER)
    if request.targetID not in host.voters():
        raise EtcdError(*errors.BAD_LEADER_TRANSFEREE)
    if not await host.transfer_lead(request.targetID, timeout_s=access.service.timeout_s):
        raise EtcdError(*errors.LEADER_TRANSFER_TIMEOUT)
    return access.service.header()


def hash_kv(request: HashKVRequest, data: bytes) -> Submission:
    """A hash of this member's state, to be compared with another member's at the same revision."""
    return Submission(Work.READ_LOCAL, queries.hash_kv(data))


async def report(access: Access, data: bytes) -> bytes:
    """What ``ratified up`` and ``ratified status`` show."""
    host = access.service.host
    status = host.status()
    group = status.node.groups[0]
    names = {member.id: member.name for member in host.members()}
    return msgspec.json.encode(
        NodeReport(
            name=host.name,
            member=f"{host.member:x}",
            role=group.engine.role,
            term=group.engine.raft_term,
            leader=names.get(group.engine.leader or 0, ""),
            last=group.engine.last,
            durable=group.engine.durable,
            commit=group.engine.commit,
            applied=group.engine.applied,
            log_bytes=status.node.log_bytes,
            checkpoint_bytes=status.node.checkpoint_bytes,
            checkpoint_us=status.node.checkpoint_us,
            checkpoint_age_us=status.checkpoint_age_us,
            operations=status.requests.done,
            open_requests=status.node.open_requests,
            overflows=status.node.overflows + status.peers.overflows,
            turns=status.turns.turns,
            turns_us=status.turns.busy_us,
            turn_classes=list(status.turns.classes),
            engine=host.engine,
            words=group.engine.words,
        )
    )
