"""etcd's messages: generated from our own text, numbered as etcd numbers them, apart from anybody else's pool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor

import ratified
from ratified.wire.etcd import kv_pb2, rpc_pb2

SOURCE = Path(ratified.__file__).parent.parent
PACKAGE = SOURCE / "ratified/wire/etcd"
SOURCES = ("auth", "kv", "rpc", "lock", "election", "health")
GENERATED = ("descriptors.binpb", *(f"{name}_pb2.pyi" for name in SOURCES))


def test_the_committed_files_are_what_protoc_makes_of_the_text(tmp_path: Path) -> None:
    out = tmp_path / "ratified/wire/etcd"
    out.mkdir(parents=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    options = ["-I", str(SOURCE), f"--descriptor_set_out={out}/descriptors.binpb", f"--mypy_out=quiet:{tmp_path}"]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", *options, *(str(PACKAGE / f"{name}.proto") for name in SOURCES)],
        check=True,
        env={**os.environ, "PATH": path},
    )
    for name in GENERATED:
        assert (out / name).read_bytes() == (PACKAGE / name).read_bytes(), name


BESIDE_ANOTHER_CLIENT = """
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from ratified.wire.etcd import rpc_pb2
other = FileDescriptorProto(name="rpc.proto", package="etcdserverpb")
other.message_type.add(name="RangeRequest")
descriptor_pool.Default().AddSerializedFile(other.SerializeToString())
found = descriptor_pool.Default().FindMessageTypeByName("etcdserverpb.RangeRequest")
assert found is not rpc_pb2.RangeRequest.DESCRIPTOR
assert not found.fields and rpc_pb2.RangeRequest.DESCRIPTOR.fields
"""


def test_a_client_with_messages_of_the_same_names_can_live_in_the_same_process() -> None:
    subprocess.run([sys.executable, "-c", BESIDE_ANOTHER_CLIENT], check=True)


def test_bytes_on_the_wire_are_those_of_etcd() -> None:
    """Written out by hand from etcd's field numbers."""
    put = rpc_pb2.PutRequest(key=b"k", value=b"v", lease=7, prev_kv=True, ignore_value=True, ignore_lease=True)
    assert put.SerializeToString() == b"\x0a\x01k\x12\x01v\x18\x07\x20\x01\x28\x01\x30\x01"
    pair = kv_pb2.KeyValue(key=b"k", create_revision=1, mod_revision=2, version=3, value=b"v", lease=4)
    assert pair.SerializeToString() == b"\x0a\x01k\x10\x01\x18\x02\x20\x03\x2a\x01v\x30\x04"
    watch = rpc_pb2.WatchResponse(
        watch_id=1, canceled=True, compact_revision=5, events=[kv_pb2.Event(type=kv_pb2.Event.DELETE, kv=pair)]
    )
    event = b"\x08\x01\x12" + bytes([pair.ByteSize()]) + pair.SerializeToString()
    assert watch.SerializeToString() == b"\x10\x01\x20\x01\x28\x05\x5a" + bytes([len(event)]) + event
    compare = rpc_pb2.Compare(
        result=rpc_pb2.Compare.NOT_EQUAL, target=rpc_pb2.Compare.LEASE, key=b"k", lease=9, range_end=b"l"
    )
    assert compare.SerializeToString() == b"\x08\x03\x10\x04\x1a\x01k\x40\x09\x82\x04\x01l"
    header = rpc_pb2.ResponseHeader(cluster_id=1, member_id=2, revision=3, raft_term=4)
    assert header.SerializeToString() == b"\x08\x01\x10\x02\x18\x03\x20\x04"


def test_a_second_header_field_is_merged_into_the_first() -> None:
    """What lets the API add cluster, member and term to an answer without decoding it."""
    answer = rpc_pb2.PutResponse(header=rpc_pb2.ResponseHeader(revision=3)).SerializeToString()
    more = rpc_pb2.PutResponse(
        header=rpc_pb2.ResponseHeader(cluster_id=1, member_id=2, raft_term=4)
    ).SerializeToString()
    merged = rpc_pb2.PutResponse.FromString(answer + more).header
    assert (merged.cluster_id, merged.member_id, merged.revision, merged.raft_term) == (1, 2, 3, 4)


def test_services_and_methods_are_those_of_etcd() -> None:
    file: FileDescriptor = rpc_pb2.DESCRIPTOR
    methods = {name: [method.name for method in service.methods] for name, service in file.services_by_name.items()}
    assert methods == {
        "KV": ["Range", "Put", "DeleteRange", "Txn", "Compact"],
        "Watch": ["Watch"],
        "Lease": ["LeaseGrant", "LeaseRevoke", "LeaseKeepAlive", "LeaseTimeToLive", "LeaseLeases"],
        "Cluster": ["MemberAdd", "MemberRemove", "MemberUpdate", "MemberList", "MemberPromote"],
        "Maintenance": ["Alarm", "Status", "Defragment", "Hash", "HashKV", "Snapshot", "MoveLeader", "Downgrade"],
        "Auth": [
            *("AuthEnable", "AuthDisable", "AuthStatus", "Authenticate"),
            *("UserAdd", "UserGet", "UserList", "UserDelete", "UserChangePassword", "UserGrantRole", "UserRevokeRole"),
            *("RoleAdd", "RoleGet", "RoleList", "RoleDelete", "RoleGrantPermission", "RoleRevokePermission"),
        ],
    }
    assert file.package == "etcdserverpb"
    assert kv_pb2.DESCRIPTOR.package == "mvccpb"
