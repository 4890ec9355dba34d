"""All mutants, of every engine."""

from tests.mutants import identity, links, paxos, raft, store, zab

MUTANTS = [*raft.MUTANTS, *links.MUTANTS, *paxos.MUTANTS, *zab.MUTANTS, *identity.MUTANTS, *store.MUTANTS]
