"""From a data directory to a node: the same steps in the simulator and in the server.

1. Recover the log; it alone reads synchronously.
2. Open each group's store. A store ahead of its log means that the log has lost what was acknowledged, and a store
   behind its log's base that the checkpoint is lost on which the log was cut: refuse.
3. This start's incarnation is one more than the last durable one; it is appended first, and no frame leaves before
   it is durable.
4. A node that has begun before goes on at once; a fresh one when it begins.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from ratified.consensus.contract import Era, Extensions, LeaseKind, Links, Membership, Options
from ratified.consensus.draws import mix
from ratified.machine import Store
from ratified.node.checkpoints import Checkpoints
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import CLUSTER_GROUP, first_table
from ratified.node.config import NodeConfig
from ratified.node.directories import Directories
from ratified.node.node import Node
from ratified.node.observer import Observe
from ratified.node.peers import GroupLinks, PeerSessions
from ratified.node.ports import Notice
from ratified.node.proposals import ProposalIds
from ratified.node.replica import Replica, Shared
from ratified.node.requests import Requests
from ratified.node.room import DiskRoom
from ratified.node.snapshot_directory import SnapshotDirectory
from ratified.node.snapshot_receiving import FoundSnapshots
from ratified.node.snapshot_sending import SnapshotIds
from ratified.node.timers import Timers
from ratified.storage.checkpoint import CheckpointUnsound, Claim, Contents, find
from ratified.storage.files import Files
from ratified.storage.format import ClusterRecord, LogLimits, NodeRecord, PeerRecord
from ratified.storage.identity import Identity, create
from ratified.storage.log import LogPlanner
from ratified.storage.recovery import Recovered, RecoveredGroup, recover
from ratified.storage.space import Environment, Space
from ratified.wire.peer import Joined

OpenStore = Callable[[int, Space], Store]
"""``(group, space) -> store``."""


class StoreAheadOfLog(Exception):
    """A store has applied what the log does not hold."""

    def __init__(self, group: int, applied: int, last: int) -> None:
        super().__init__(
            f"the store of group {group} has applied entry {applied} and the log ends at {last}: the log has lost "
            "acknowledged entries, or belongs to another store. Put the latest data directory back, or remove this "
            "member and add another in its place"
        )


def boot(now: int, files: Files, config: NodeConfig, environment: Environment, open_store: OpenStore) -> Node:
    """Recover and build a node. Its first ``turn`` must follow, at any time.

    Raises what ``recover`` raises, ``StoreAheadOfLog`` and ``StoreBehindLog``.
    """
    recovered = recover(files, config.log_limits)
    checkpoint = own_checkpoint(files, recovered)
    return build(now, recovered, config, environment, open_store, files=files, checkpoint=checkpoint)


def own_checkpoint(files: Files, recovered: Recovered) -> Contents | CheckpointUnsound | None:
    """What the data directory's checkpoint holds, or why that does not count; None: there is none."""
    try:
        return find(files, recovered.directory)
    except CheckpointUnsound as unsound:
        return unsound


def create_joined(files: Files, joined: Joined, directory: bytes, limits: LogLimits) -> Identity:
    """Make a fresh data directory, with this id, the one of the member that ``joined`` tells it to be."""
    owner = Identity(joined.cluster, joined.member, directory, joined.engine)
    nobody = dict.fromkeys(range(joined.groups), Membership(()))
    table = ClusterRecord(joined.index, joined.table)
    peers = [PeerRecord(member, joined.directories[member]) for member in sorted(joined.directories)]
    create(files, owner, nobody, limits, [table, *peers])
    return owner


def build(
    now: int,
    recovered: Recovered,
    config: NodeConfig,
    environment: Environment,
    open_store: OpenStore,
    *,
    files: Files,
    checkpoint: Contents | CheckpointUnsound | None = None,
    observe: Observe | None = None,
) -> Node:
    """A node on a log that was recovered already, over the checkpoint and the snapshots that the data directory has.

    ``observe`` makes an observer for each of its replicas.
    """
    notices = _notices(recovered)
    if isinstance(checkpoint, CheckpointUnsound):
        notices.append(Notice(f"the checkpoint cannot be used, and another one is taken later: {checkpoint}"))
        checkpoint = None
    incarnation = recovered.incarnation + 1
    planner = LogPlanner(recovered, config.log_limits)
    planner.append_own(NodeRecord(incarnation, recovered.directory, config.start))
    timers = Timers()
    requests = Requests(config.limits, timers)
    first = first_table(config.names, config.peer_urls)
    others = tuple(sorted(recovered.groups.keys() - {CLUSTER_GROUP}))
    cluster = ClusterLog(planner.append_own, first, recovered.cluster, others)
    directories = Directories(
        config, cluster, planner.append_own, recovered.peers, begun=recovered.begun, joins=_joins(recovered)
    )
    directories.table_changed()
    room = DiskRoom()
    peers = PeerSessions(
        config, incarnation, recovered.starts, directories, cluster, timers, room, groups=len(recovered.groups)
    )
    ids = ProposalIds(config.member, incarnation)
    snapshots = SnapshotIds(config.member, incarnation)
    shared = Shared(config, planner, peers, timers, requests, ids, room, cluster, snapshots)
    directory = SnapshotDirectory(files)
    replicas: dict[int, Replica] = {}
    for group, found in sorted(recovered.groups.items()):
        store = open_store(group, environment.space(group))
        claim = _claim(checkpoint, group, store)
        if store.applied < found.base.index:
            directory.install(group, found.base, store, environment)
        snapshot = directory.sort_out(group, found.base, claim)
        replicas[group] = _replica(now, group, found, store, shared, claim=claim, snapshot=snapshot, observe=observe)
    directory.tidy()
    checkpoints = Checkpoints(config, planner, environment, timers, recovered.directory, checkpoint)
    if directory.keeps:
        checkpoints.installed()
    node = Node(shared, incarnation, replicas, environment, directories, checkpoints, notices=notices)
    if directories.begun:
        node.begin(now)
    return node


def _joins(recovered: Recovered) -> bool:
    """Does the log begin with nobody who votes?"""
    return not any(group.base.membership.voters for group in recovered.groups.values())


def _notices(recovered: Recovered) -> list[Notice]:
    cut = recovered.cut
    if cut is None:
        return []
    return [
        Notice(f"a torn batch at byte {cut.offset} of log file {cut.file} was cut: nobody was told that it is durable")
    ]


def _claim(checkpoint: Contents | None, group: int, store: Store) -> Claim | None:
    """What the checkpoint claims of the group, unless the store was discarded and the checkpoint did not fill it."""
    claim = checkpoint.claims.get(group) if checkpoint is not None else None
    return claim if claim is not None and claim.index <= store.applied else None


def _replica(
    now: int,
    group: int,
    found: RecoveredGroup,
    store: Store,
    shared: Shared,
    *,
    claim: Claim | None,
    snapshot: FoundSnapshots,
    observe: Observe | None,
) -> Replica:
    config = shared.config
    if store.applied > found.last:
        raise StoreAheadOfLog(group, store.applied, found.last)
    delivered = (store.applied, store.applied_era)
    durable = found.durable(*delivered)
    observer = None if observe is None else observe(group, durable)
    engine = config.engine.engine(now, options(group, config, GroupLinks(shared.peers, group), shared.room), durable)
    return Replica(
        now, group, engine, store, shared, delivered=delivered, claim=claim, found=snapshot, observer=observer
    )


def options(group: int, config: NodeConfig, links: Links, room: DiskRoom) -> Options:
    """How the engine of a group runs on this node."""
    timeout_us = config.election_timeout_us

    @lru_cache(maxsize=1)
    def drawn_us(era: Era) -> int:
        return mix(config.seed, group, config.member, *era) % timeout_us

    def election_deadline(now: int, era: Era) -> int:
        """Between T and 2 T from now, drawn anew in every era so that split votes do not repeat; 2 T later where the
        disk is full: who has room comes first."""
        handicap_us = 2 * timeout_us if room.is_full else 0
        return now + timeout_us + handicap_us + drawn_us(era)

    return Options(
        member=config.member,
        seed=mix(config.seed, group),
        election_deadline=election_deadline,
        election_timeout_max_us=2 * timeout_us,
        election_timeout_min_us=timeout_us,
        heartbeat_us=config.heartbeat_us,
        lease_us=config.read_lease_us if config.read_lease_kind is LeaseKind.CLOCK else 0,
        log_lease_us=config.read_lease_us if config.read_lease_kind is LeaseKind.LOG else 0,
        clock_drift_ppm_max=config.clock_drift_ppm_max,
        limits=config.engine_limits,
        extensions=Extensions(quiescence=config.quiescence),
        links=links,
    )
