"""The messages of ``election.proto``; ``election_pb2.pyi`` says which there are."""

from ratified.wire.etcd.pool import members

globals().update(members("election.proto"))
