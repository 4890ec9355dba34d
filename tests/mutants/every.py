"""All mutants, of every engine."""

from tests.mutants import paxos, raft, zab

MUTANTS = [*raft.MUTANTS, *paxos.MUTANTS, *zab.MUTANTS]
