"""The messages of ``rpc.proto``; ``rpc_pb2.pyi`` says which there are."""

from ratified.wire.etcd.pool import members

globals().update(members("rpc.proto"))
