"""Maintenance: all but Snapshot; and our own ``ratified.v1.Node/Report`` for people.

Snapshot has a module of its own.
"""

from __future__ import annotations

import re

import msgspec

from ratified.api.access import Access
from ratified.api.submission import Submission
from ratified.kv import commands, queries, requests
from ratified.kv.errors import EtcdError
from ratified.runtime import Work
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    DefragmentRequest,
    DowngradeRequest,
    HashKVRequest,
    HashKVResponse,
    HashRequest,
    HashResponse,
    MoveLeaderRequest,
    StatusRequest,
    StatusResponse,
)
from ratified.wire.peer import ALARMS_SINCE
from ratified.wire.report import NodeReport

ETCD_VERSION = "3.5.8"
"""The version of etcd whose API this is. kube-apiserver decides by it whether a progress notification can be relied on:
in etcd since 3.5.8."""

REMOVAL_S_MAX = 300.0
"""How long removing rows may take before whoever waits for it is answered that it takes too long."""

_VERSION = re.compile(r"\d+\.\d+(\.\d+.*)?")
"""A target of a downgrade, as etcd wants it written."""


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
        isLearner=any(member.is_learner for member in host.members() if member.id == host.member),
    )
    if leader is None:
        answer.errors.append(errors.NO_LEADER.text)
    return answer.SerializeToString() + await access.query(queries.status(), linearizable=False)


async def alarm(access: Access, request: AlarmRequest, data: bytes) -> bytes:
    """List alarms, raise one of any member, or take one back.

    Members of an earlier version stop at such a change: none is proposed before all members are known to know it, or
    while an alarm stands, for then they do.
    """
    requests.check_alarm(request)
    if request.action == AlarmRequest.GET:
        return await access.query(queries.alarms(data))
    await access.check_manages()
    standing = AlarmResponse.FromString(await access.query(queries.alarms(b"")))
    is_known = access.service.host.all_speak(ALARMS_SINCE) or standing.alarms
    if request.alarm and is_known:
        answer = await access.propose(commands.alarm(data))
        access.service.forget_size()  # whoever takes an alarm back has made room
        return answer
    if request.alarm and request.action == AlarmRequest.ACTIVATE:
        raise EtcdError(*errors.ALARMS_NOT_KNOWN)
    return AlarmResponse(header=standing.header).SerializeToString()


async def defragment(access: Access, request: DefragmentRequest, data: bytes) -> bytes:
    """Wait until the rows are gone of what was deleted and compacted: LMDB uses the pages again that they have left."""
    await access.query(queries.tidied(), linearizable=False, timeout_s=REMOVAL_S_MAX)
    return access.service.header()


async def downgrade(access: Access, request: DowngradeRequest, data: bytes) -> bytes:
    """There is no version to which members could be downgraded by this, and so no downgrade that could be cancelled."""
    await access.check_manages()
    if request.action == DowngradeRequest.CANCEL:
        raise EtcdError(*errors.NO_DOWNGRADE)
    if request.action not in DowngradeRequest.DowngradeAction.values():
        raise EtcdError(*errors.UNKNOWN_METHOD)
    well_formed = _VERSION.fullmatch(request.version) is not None
    raise EtcdError(*(errors.DOWNGRADE_TARGET_INVALID if well_formed else errors.DOWNGRADE_TARGET_MALFORMED))


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


async def hash_(access: Access, request: HashRequest, data: bytes) -> bytes:
    """As ``hash_kv`` at this member's newest revision."""
    query = queries.hash_kv(HashKVRequest().SerializeToString())
    answer = HashKVResponse.FromString(await access.query(query, linearizable=False))
    return HashResponse(header=answer.header, hash=answer.hash).SerializeToString()


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
            open_requests=status.node.open_requests - access.service.own_streams,
            overflows=status.node.overflows + status.peers.overflows,
            turns=status.turns.turns,
            turns_us=status.turns.busy_us,
            turn_classes=list(status.turns.classes),
            engine=host.engine,
            words=group.engine.words,
        )
    )
