"""Cluster: MemberList, MemberUpdate. (Adding and removing members comes later.)"""

from __future__ import annotations

from ratified.api.service import Service
from ratified.kv import queries
from ratified.kv.errors import EtcdError
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    Member,
    MemberListRequest,
    MemberListResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
)

_REFUSALS = {error.text: error for error in (errors.MEMBER_NOT_FOUND, errors.PEER_URL_EXISTS)}


async def member_list(service: Service, request: MemberListRequest, data: bytes) -> bytes:
    """The members, ascending by id."""
    if request.linearizable:
        await service.query(queries.status())
    return MemberListResponse(members=_members(service)).SerializeToString() + service.header()


async def member_update(service: Service, request: MemberUpdateRequest, data: bytes) -> bytes:
    """Other peer URLs for a member; it must then listen there."""
    try:
        refusal = await service.update_member(request.ID, request.peerURLs)
    except ValueError as error:
        raise EtcdError(*errors.BAD_MEMBER_URLS) from error
    if refusal:
        raise EtcdError(*_REFUSALS[refusal])
    return MemberUpdateResponse(members=_members(service)).SerializeToString() + service.header()


def _members(service: Service) -> list[Member]:
    return [
        Member(ID=member.id, name=member.name, peerURLs=member.peer_urls, clientURLs=member.client_urls)
        for member in service.host.members()
    ]
