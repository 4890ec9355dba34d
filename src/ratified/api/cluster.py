"""Cluster: MemberList. (Changing the members comes later.)"""

from __future__ import annotations

from ratified.api.service import Service
from ratified.kv import queries
from ratified.kv.commands import parse
from ratified.wire.etcd import rpc_pb2


async def member_list(service: Service, request: bytes) -> bytes:
    """The members, ascending by id. Client URLs are known of members that this one has met."""
    if parse(rpc_pb2.MemberListRequest, request).linearizable:
        await service.query(queries.status())
    members = [
        rpc_pb2.Member(ID=member.id, name=member.name, peerURLs=member.peer_urls, clientURLs=member.client_urls)
        for member in service.host.members()
    ]
    return rpc_pb2.MemberListResponse(members=members).SerializeToString() + service.header()
