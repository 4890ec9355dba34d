"""The messages of ``health.proto``; ``health_pb2.pyi`` says which there are."""

from ratified.wire.etcd.pool import members

globals().update(members("health.proto"))
