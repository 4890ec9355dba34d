"""The messages of ``lock.proto``; ``lock_pb2.pyi`` says which there are."""

from ratified.wire.etcd.pool import members

globals().update(members("lock.proto"))
