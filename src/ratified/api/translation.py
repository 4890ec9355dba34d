"""Calls of etcd's API as JSON: which path is which method, and one form into the other.

Bytes are base64, 64-bit numbers are strings; either is taken as a number too. Names are those of etcd's messages, or
camelCase. Unknown names are passed over; so is what stands behind a request that takes one message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from ratified.wire.etcd import election_pb2, lock_pb2, rpc_pb2

PREFIXES = ("/v3", "/v3beta")
"""The second is what etcd 3.4 still answers to."""
PARTS_MAX = 20_000
"""Objects, lists and their members in one body: what is made of them is made at once, while all others wait."""
_SPACE = " \t\r\n"
"""What may stand between the values of JSON."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


class Route(NamedTuple):
    """A method of gRPC, and what it takes and gives."""

    path: str
    request: type[Message]
    answer: type[Message]
    is_stream: bool
    stays_open: bool
    """It goes on when the client has said all that it wants to say."""


def _routes() -> Mapping[str, Route]:
    found: dict[str, Route] = {}
    for file in (rpc_pb2, lock_pb2, election_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                name = f"{service.full_name}/{method.name}"
                request, answer = (getattr(file, kind.name) for kind in (method.input_type, method.output_type))
                stays_open = name in ("etcdserverpb.Watch/Watch", "v3electionpb.Election/Observe")
                route = Route(f"/{name}", request, answer, method.server_streaming, stays_open)
                found |= {f"{prefix}/{path}": route for prefix in PREFIXES for path in _PATHS[name]}
    return found


_PATHS = {
    "etcdserverpb.KV/Range": ("kv/range",),
    "etcdserverpb.KV/Put": ("kv/put",),
    "etcdserverpb.KV/DeleteRange": ("kv/deleterange",),
    "etcdserverpb.KV/Txn": ("kv/txn",),
    "etcdserverpb.KV/Compact": ("kv/compaction",),
    "etcdserverpb.Watch/Watch": ("watch",),
    "etcdserverpb.Lease/LeaseGrant": ("lease/grant",),
    "etcdserverpb.Lease/LeaseRevoke": ("lease/revoke", "kv/lease/revoke"),
    "etcdserverpb.Lease/LeaseKeepAlive": ("lease/keepalive",),
    "etcdserverpb.Lease/LeaseTimeToLive": ("lease/timetolive", "kv/lease/timetolive"),
    "etcdserverpb.Lease/LeaseLeases": ("lease/leases", "kv/lease/leases"),
    "etcdserverpb.Cluster/MemberAdd": ("cluster/member/add",),
    "etcdserverpb.Cluster/MemberRemove": ("cluster/member/remove",),
    "etcdserverpb.Cluster/MemberUpdate": ("cluster/member/update",),
    "etcdserverpb.Cluster/MemberList": ("cluster/member/list",),
    "etcdserverpb.Cluster/MemberPromote": ("cluster/member/promote",),
    "etcdserverpb.Maintenance/Alarm": ("maintenance/alarm",),
    "etcdserverpb.Maintenance/Status": ("maintenance/status",),
    "etcdserverpb.Maintenance/Defragment": ("maintenance/defragment",),
    "etcdserverpb.Maintenance/Hash": ("maintenance/hash",),
    "etcdserverpb.Maintenance/HashKV": ("maintenance/hashkv",),
    "etcdserverpb.Maintenance/Snapshot": ("maintenance/snapshot",),
    "etcdserverpb.Maintenance/MoveLeader": ("maintenance/transfer-leadership",),
    "etcdserverpb.Maintenance/Downgrade": ("maintenance/downgrade",),
    "etcdserverpb.Auth/AuthEnable": ("auth/enable",),
    "etcdserverpb.Auth/AuthDisable": ("auth/disable",),
    "etcdserverpb.Auth/AuthStatus": ("auth/status",),
    "etcdserverpb.Auth/Authenticate": ("auth/authenticate",),
    "etcdserverpb.Auth/UserAdd": ("auth/user/add",),
    "etcdserverpb.Auth/UserGet": ("auth/user/get",),
    "etcdserverpb.Auth/UserList": ("auth/user/list",),
    "etcdserverpb.Auth/UserDelete": ("auth/user/delete",),
    "etcdserverpb.Auth/UserChangePassword": ("auth/user/changepw",),
    "etcdserverpb.Auth/UserGrantRole": ("auth/user/grant",),
    "etcdserverpb.Auth/UserRevokeRole": ("auth/user/revoke",),
    "etcdserverpb.Auth/RoleAdd": ("auth/role/add",),
    "etcdserverpb.Auth/RoleGet": ("auth/role/get",),
    "etcdserverpb.Auth/RoleList": ("auth/role/list",),
    "etcdserverpb.Auth/RoleDelete": ("auth/role/delete",),
    "etcdserverpb.Auth/RoleGrantPermission": ("auth/role/grant",),
    "etcdserverpb.Auth/RoleRevokePermission": ("auth/role/revoke",),
    "v3lockpb.Lock/Lock": ("lock/lock",),
    "v3lockpb.Lock/Unlock": ("lock/unlock",),
    "v3electionpb.Election/Campaign": ("election/campaign",),
    "v3electionpb.Election/Proclaim": ("election/proclaim",),
    "v3electionpb.Election/Leader": ("election/leader",),
    "v3electionpb.Election/Observe": ("election/observe",),
    "v3electionpb.Election/Resign": ("election/resign",),
}
ROUTES = _routes()
"""By the path of HTTP."""


def route_of(method: bytes, target: bytes) -> Route | None:
    """The method that a request of HTTP calls; None: none."""
    return ROUTES.get(_path(target.decode("latin-1"))) if method == b"POST" else None


def is_call(target: str) -> bool:
    """Is this the path of a method, whatever method of HTTP it is asked for by?"""
    return _path(target) in ROUTES


def _path(target: str) -> str:
    return target.partition("?")[0]


class BadRequest(Exception):
    """The body is no such request; says why."""


def requests_of(route: Route, body: bytes) -> list[bytes]:
    """The messages that a body asks with. Raises ``BadRequest``."""
    if sum(body.count(each) for each in (b"{", b"[", b",")) > PARTS_MAX:
        raise BadRequest(f"the body has more than {PARTS_MAX} parts")
    return [_encoded(route.request, each) for each in _values(body, route.is_stream)]


def answer_of(route: Route, message: bytes) -> bytes:
    """An answer of the method, as JSON."""
    return dumped(MessageToDict(route.answer.FromString(message), preserving_proto_field_name=True))


def _values(body: bytes, is_stream: bool) -> Iterator[object]:
    """Of JSON, one behind another; only the first where the method takes one. Raises ``BadRequest``."""
    text = body.decode("utf-8", "replace").strip(_SPACE)
    if not text:
        yield {}
        return
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"the body is no JSON: {error}") from error
        yield value
        if not is_stream:
            return
        while at < len(text) and text[at] in _SPACE:
            at += 1


def _encoded(kind: type[Message], value: object) -> bytes:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadRequest(f"the body is no object of JSON, but a {type(value).__name__}")
    try:
        _check(cast(Descriptor, kind.DESCRIPTOR), value)
        return ParseDict(value, kind(), ignore_unknown_fields=True).SerializeToString()
    except (ParseError, ValueError, TypeError, RecursionError, SystemError) as error:
        raise BadRequest(str(error)) from error


def _check(kind: Descriptor, values: Mapping[str, object]) -> None:
    """The library passes over what is no base64, and over names that an enumeration does not have."""
    for name, value in values.items():
        field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
        if field is None:
            continue
        for each in value if isinstance(value, list) else [value]:
            if field.message_type is not None and isinstance(each, dict):
                _check(field.message_type, each)
            elif field.message_type is not None and each is not None:
                raise BadRequest(f"{name}: no object of JSON, but a {type(each).__name__}")
            elif field.type == field.TYPE_BYTES and isinstance(each, str) and not _is_base64(each):
                raise BadRequest(f"{name}: illegal base64 data: {each:.40}")
            elif (enum := field.enum_type) is not None and isinstance(each, str) and each not in enum.values_by_name:
                raise BadRequest(f'{name}: unknown value "{each:.40}" for enum {enum.full_name}')


def _is_base64(text: str) -> bool:
    """It may be in lines."""
    text = text.replace("\r", "").replace("\n", "")
    return len(text.rstrip("=")) % 4 != 1 and _BASE64.fullmatch(text) is not None


def dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
