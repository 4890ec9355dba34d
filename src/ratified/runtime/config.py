"""What a host is told, and what follows from it: who the members are and where they listen."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping, Sequence

import msgspec

from ratified.consensus.contract import CLOCK_DRIFT_PPM_MAX, LeaseKind, Membership
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES, EngineRow
from ratified.node.config import NodeLimits
from ratified.runtime.address import Address, AddressError, parse_address
from ratified.runtime.errors import StartRefused
from ratified.runtime.tls import TlsFiles
from ratified.runtime.transport import TransportLimits
from ratified.storage.format import LogLimits
from ratified.storage.identity import cluster_and_member_ids

PRIORITY_MAX = 1_000_000


class HostConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one host runs. All members of a cluster must be given the same ``cluster``, ``token`` and ``groups``."""

    data_dir: str | os.PathLike[str]
    """Where everything durable is kept; created where it does not exist."""
    name: str = "default"
    """What this host is called, and which member of ``cluster`` it is unless ``known_as`` says that."""
    known_as: str = ""
    """Which member of ``cluster`` this host is, where names there are not what members are called."""
    cluster: Mapping[str, str | Sequence[str]] = {}
    """Every member's name and its peer address, or addresses: ``host:port``. Empty: one member and no network."""
    initial_absent: Sequence[str] = ()
    """Members of ``cluster`` without which this one may begin, if its data directory is new: the operator's word that
    they have never run. Fewer than half of all, and the same on every member. This version does not let them in later.
    """
    joins: bool = False
    """This host was added to a cluster that runs: where its data directory is new, it asks the other addresses of
    ``cluster`` which member it is."""
    token: str = "ratified"
    """Tells clusters apart that were created with the same names and addresses."""
    listen: Sequence[str | socket.socket] | None = None
    """Where to listen for peers: addresses, or sockets that are already bound. None: on the own peer addresses."""
    reuse_port: bool = False
    """Listen with SO_REUSEPORT."""
    client_urls: Sequence[str] = ()
    """Where clients reach this member; the other members pass it on."""
    groups: int = 1
    """How many groups are replicated, numbered from 0."""
    engine: EngineRow = ENGINES[DEFAULT_ENGINE]
    """The protocol, a row of ``consensus.engines.ENGINES``. Chosen when a cluster is created, and for ever."""
    heartbeat_us: int = 100_000
    election_timeout_us: int = 1_000_000
    """The shortest election timeout; the longest is twice as long."""
    priority: int = 0
    """The member with the highest one is handed the lead, once it has been in session for a while and has everything;
    0 to ``PRIORITY_MAX``."""
    quiescence: bool = True
    """Groups in which nothing happens keep no time, and say nothing to their other members."""
    read_lease_us: int = 0
    """For how long a leader reads without asking; 0: it asks a quorum at each read. The same on all members, at most
    the election timeout."""
    read_lease_kind: LeaseKind = LeaseKind.CLOCK
    """``CLOCK``: members promise it to elect nobody else for so long, so replacing a leader that died takes as long.
    ``LOG``: it is replaced as fast as ever, and who is elected acknowledges no write for as long, but reads on; not to
    be changed while any member runs."""
    clock_drift_ppm_max: int = CLOCK_DRIFT_PPM_MAX
    """What leases assume: by how much any member's clock is fast or slow at most, in millionths."""
    peer_tls: TlsFiles | None = None
    """This member's certificate, for peer addresses that are https URLs; all members need one then."""
    node_limits: NodeLimits = NodeLimits()
    log_limits: LogLimits = LogLimits()
    transport_limits: TransportLimits = TransportLimits()


class Roster(msgspec.Struct, frozen=True):
    """The members that a configuration names, by id."""

    cluster: int
    member: int
    names: Mapping[int, str]
    urls: Mapping[int, tuple[str, ...]]
    addresses: Mapping[int, tuple[Address, ...]]
    absent: tuple[int, ...]

    @property
    def membership(self) -> Membership:
        """All of them as voters."""
        return Membership(voters=tuple(sorted(self.names)))


def roster(config: HostConfig) -> Roster:
    """Read the members off a configuration. Raises ``StartRefused`` where it makes no sense."""
    this = config.known_as or config.name
    cluster = config.cluster or {this: ()}
    if this not in cluster:
        known = ", ".join(cluster)
        raise StartRefused(f"member {this!r} is not in the cluster ({known}): give one of these names")
    if config.groups < 1:
        raise StartRefused(f"groups is {config.groups}: at least one group is needed")
    if not 0 < config.heartbeat_us < config.election_timeout_us:
        raise StartRefused(
            f"the heartbeat ({config.heartbeat_us} us) must be above 0 and below the election timeout "
            f"({config.election_timeout_us} us): raise the election timeout to ten heartbeats or so"
        )
    if not 0 <= config.priority <= PRIORITY_MAX:
        raise StartRefused(f"priority is {config.priority}: it must be between 0 and {PRIORITY_MAX}")
    if not 0 <= config.read_lease_us <= config.election_timeout_us:
        raise StartRefused(
            f"the lease for reads ({config.read_lease_us} us) must be at most the election timeout "
            f"({config.election_timeout_us} us): lower it to three heartbeats or so, or to 0 for none"
        )
    if not 0 <= config.clock_drift_ppm_max < 1_000_000:
        raise StartRefused(f"the bound of clocks' drift ({config.clock_drift_ppm_max} ppm) must be below a million")
    urls = {name: (given,) if isinstance(given, str) else tuple(given) for name, given in cluster.items()}
    for name, given in urls.items():
        if not given and len(urls) > 1:
            raise StartRefused(f"member {name!r} of the cluster has no peer address: give host:port")
    cluster_id, members = cluster_and_member_ids(config.token, {name: list(given) for name, given in urls.items()})
    return Roster(
        cluster=cluster_id,
        member=members[this],
        names={members[name]: name for name in urls},
        urls={members[name]: given for name, given in urls.items()},
        addresses={members[name]: tuple(_address(text) for text in given) for name, given in urls.items()},
        absent=tuple(members[name] for name in _absent(config, urls)),
    )


def _absent(config: HostConfig, known: Collection[str]) -> tuple[str, ...]:
    absent = tuple(dict.fromkeys(config.initial_absent))
    for name in absent:
        if name not in known:
            raise StartRefused(f"the absent member {name!r} is not in the cluster ({', '.join(known)})")
        if name in (config.name, config.known_as):
            raise StartRefused(f"member {name!r} cannot be absent itself: leave it out of the absent members")
    if 2 * len(absent) >= len(known) and absent:
        raise StartRefused(
            f"{len(absent)} of {len(known)} members are named absent: a majority must be there to begin; start more of "
            "them"
        )
    return absent


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise StartRefused(str(error)) from error
