"""All mutants, of every engine."""

from tests.mutants import identity, paxos, raft, zab

MUTANTS = [*raft.MUTANTS, *paxos.MUTANTS, *zab.MUTANTS, *identity.MUTANTS]
