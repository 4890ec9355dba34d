"""Cluster: MemberList, for whoever is let in; MemberAdd, MemberRemove, MemberPromote, MemberUpdate, for who manages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ratified.api.access import Access
from ratified.api.service import Service
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


async def member_list(access: Access, request: MemberListRequest, data: bytes) -> bytes:
    """The members, ascending by id."""
    service = access.service
    await access.check_asks(linearizable=request.linearizable)
    return MemberListResponse(members=_members(service)).SerializeToString() + service.header()


async def member_add(access: Access, request: MemberAddRequest, data: bytes) -> bytes:
    """A new member; its process is started afterwards. It learns first, also where it is to vote."""
    service = access.service
    await access.check_manages()
    with _bad_urls():
        member, refusal = await service.change_members(
            service.host.add_member(request.peerURLs, learner=request.isLearner, timeout_s=service.timeout_s)
        )
    _check(refusal)
    members = _members(service)
    (added,) = (each for each in members if member == each.ID)
    return MemberAddResponse(member=added, members=members).SerializeToString() + service.header()


async def member_remove(access: Access, request: MemberRemoveRequest, data: bytes) -> bytes:
    service = access.service
    await access.check_manages()
    _check(await service.change_members(service.host.remove_member(request.ID, timeout_s=service.timeout_s)))
    return MemberRemoveResponse(members=_members(service)).SerializeToString() + service.header()


async def member_promote(access: Access, request: MemberPromoteRequest, data: bytes) -> bytes:
    """A learner that has caught up votes from now on."""
    service = access.service
    await access.check_manages()
    _check(await service.change_members(service.host.promote_member(request.ID, timeout_s=service.timeout_s)))
    return MemberPromoteResponse(members=_members(service)).SerializeToString() + service.header()


async def member_update(access: Access, request: MemberUpdateRequest, data: bytes) -> bytes:
    """Other peer URLs for a member; it must then listen there."""
    service = access.service
    await access.check_manages()
    if request.ID not in (member.id for member in service.host.members()):
        raise EtcdError(*errors.MEMBER_NOT_FOUND)  # it is said before the URLs are looked at
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
