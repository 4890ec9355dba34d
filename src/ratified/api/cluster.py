"""Cluster: MemberList, MemberAdd, MemberRemove, MemberPromote, MemberUpdate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ratified.api.service import Service
from ratified.kv import queries
from ratified.kv.errors import EtcdError
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    Member,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
)

_REFUSALS = {
    error.text: error
    for error in (
        errors.MEMBER_NOT_FOUND,
        errors.MEMBER_EXISTS,
        errors.PEER_URL_EXISTS,
        errors.TOO_MANY_LEARNERS,
        errors.NOT_LEARNER,
        errors.NOT_ENOUGH_STARTED,
    )
}


async def member_list(service: Service, request: MemberListRequest, data: bytes) -> bytes:
    """The members, ascending by id."""
    if request.linearizable:
        await service.query(queries.status())
    return MemberListResponse(members=_members(service)).SerializeToString() + service.header()


async def member_add(service: Service, request: MemberAddRequest, data: bytes) -> bytes:
    """A new member; its process is started afterwards. It learns first, also where it is to vote."""
    with _bad_urls():
        member, refusal = await service.change_members(
            service.host.add_member(request.peerURLs, learner=request.isLearner, timeout_s=service.timeout_s)
        )
    _check(refusal)
    members = _members(service)
    (added,) = (each for each in members if member == each.ID)
    return MemberAddResponse(member=added, members=members).SerializeToString() + service.header()


async def member_remove(service: Service, request: MemberRemoveRequest, data: bytes) -> bytes:
    _check(await service.change_members(service.host.remove_member(request.ID, timeout_s=service.timeout_s)))
    return MemberRemoveResponse(members=_members(service)).SerializeToString() + service.header()


async def member_promote(service: Service, request: MemberPromoteRequest, data: bytes) -> bytes:
    """A learner that has caught up votes from now on."""
    _check(await service.change_members(service.host.promote_member(request.ID, timeout_s=service.timeout_s)))
    return MemberPromoteResponse(members=_members(service)).SerializeToString() + service.header()


async def member_update(service: Service, request: MemberUpdateRequest, data: bytes) -> bytes:
    """Other peer URLs for a member; it must then listen there."""
    with _bad_urls():
        refusal = await service.change_members(
            service.host.update_member(request.ID, request.peerURLs, timeout_s=service.timeout_s)
        )
    _check(refusal)
    return MemberUpdateResponse(members=_members(service)).SerializeToString() + service.header()


@contextmanager
def _bad_urls() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise EtcdError(*errors.BAD_MEMBER_URLS) from error


def _check(refusal: str) -> None:
    """Raise the error with this text; "": there is none."""
    if refusal:
        raise EtcdError(*_REFUSALS[refusal])


def _members(service: Service) -> list[Member]:
    return [
        Member(
            ID=member.id,
            name=member.name,
            peerURLs=member.peer_urls,
            clientURLs=member.client_urls,
            isLearner=member.is_learner,
        )
        for member in service.host.members()
    ]
