"""Cluster: MemberList. (Changing the members comes later.)"""

from __future__ import annotations

from ratified.api.service import Service
from ratified.kv import queries
from ratified.wire.etcd.rpc_pb2 import Member, MemberListRequest, MemberListResponse


async def member_list(service: Service, request: MemberListRequest, data: bytes) -> bytes:
    """The members, ascending by id."""
    if request.linearizable:
        await service.query(queries.status())
    members = [
        Member(ID=member.id, name=member.name, peerURLs=member.peer_urls, clientURLs=member.client_urls)
        for member in service.host.members()
    ]
    return MemberListResponse(members=members).SerializeToString() + service.header()
