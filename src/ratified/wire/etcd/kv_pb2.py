"""The messages of ``kv.proto``; ``kv_pb2.pyi`` says which there are."""

from ratified.wire.etcd.pool import members

globals().update(members("kv.proto"))
