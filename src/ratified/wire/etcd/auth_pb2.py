"""The messages of ``auth.proto``; ``auth_pb2.pyi`` says which there are."""

from ratified.wire.etcd.pool import members

globals().update(members("auth.proto"))
