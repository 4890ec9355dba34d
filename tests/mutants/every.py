"""All mutants, of every engine."""

from tests.mutants import (
    checkpoints,
    elections,
    garbage,
    identity,
    leases,
    links,
    members,
    paxos,
    raft,
    returns,
    snapshots,
    store,
    streams,
    tables,
    topologies,
    turns,
    versions,
    zab,
)
from tests.mutants.mutant import EngineMutant, Mutant

MUTANTS: list[Mutant | EngineMutant] = [
    *raft.MUTANTS,
    *returns.MUTANTS,
    *links.MUTANTS,
    *turns.MUTANTS,
    *paxos.MUTANTS,
    *zab.MUTANTS,
    *identity.MUTANTS,
    *garbage.MUTANTS,
    *store.MUTANTS,
    *members.MUTANTS,
    *tables.MUTANTS,
    *topologies.MUTANTS,
    *elections.MUTANTS,
    *checkpoints.MUTANTS,
    *snapshots.MUTANTS,
    *streams.MUTANTS,
    *versions.MUTANTS,
    *leases.MUTANTS,
]
