"""Who the members of a new cluster are, by the SRV records of a domain (``--discovery-srv``).

Rules

1. A record of ``_etcd-server-ssl._tcp.DOMAIN`` is a member at an https URL, one of ``_etcd-server._tcp.DOMAIN`` one at
   an http URL. All members must find the same: the ids of cluster and members are made from it, so members are known
   by host and port there, and have their own names once they run.
2. This member is the one at a URL that it advertises: written alike, or of the same address and port.
3. It is asked until there is an answer. That there are no records is an answer.
4. A data directory remembers what was found when it was made: records may change, and its cluster does not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ratified.runtime.names import Names
from ratified.server.urls import Url

log = logging.getLogger("ratified.server")

FILE = "discovered.json"
"""In the data directory."""
SERVICES: Mapping[str, str] = {"https": "etcd-server-ssl", "http": "etcd-server"}
LOOK_UP_S = 5.0
"""For one question, and for the addresses of one name."""
PAUSE_S = 1.0
SAY_EVERY_S = 5.0


class DiscoveryFailed(Exception):
    """The records name no cluster with this member; one line that says what to do."""


class Members(msgspec.Struct, frozen=True):
    """The members' peer URLs by the names under which the cluster is made, and which of them this is."""

    cluster: Mapping[str, Sequence[str]]
    this: str


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """What to ask for."""

    domain: str
    suffix: str
    """Of the services' names; empty: none."""

    def question(self, scheme: str) -> str:
        service = SERVICES[scheme] + (f"-{self.suffix}" if self.suffix else "")
        return f"_{service}._tcp.{self.domain}"


def remembered(data_dir: Path) -> Members | None:
    """What was found for this data directory; None: nothing. Raises ``DiscoveryFailed``."""
    file = data_dir / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Members)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DiscoveryFailed(f"cannot read {file}: {error}: remove it, to look the members up again") from error


def remember(data_dir: Path, members: Members) -> None:
    """Raises ``DiscoveryFailed``."""
    file = data_dir / FILE
    try:
        file.write_bytes(msgspec.json.encode(members))
    except OSError as error:
        raise DiscoveryFailed(f"cannot write {file}: {error.strerror}: free some room, or see to its rights") from error


async def discover(discovery: Discovery, name: str, advertised: Sequence[Url], *, joins: bool) -> Members:
    """Ask for the records, and find this member among them. Raises ``DiscoveryFailed``.

    ``joins``: it may be missing there, and is then added by its ``name``.
    """
    found = await _records(discovery)
    if not found:
        asked = " and ".join(discovery.question(scheme) for scheme in SERVICES)
        raise DiscoveryFailed(
            f"there are no SRV records of {asked}: add one for each member, or see to --discovery-srv"
        )
    cluster = {url.address: (str(url),) for url in found}
    ours = [url.address for url in await _at_same(found, advertised)]
    if not ours and joins:
        return Members({**cluster, name: tuple(map(str, advertised))}, name)
    if len(ours) != 1:
        among = f"{len(ours)} of" if ours else "none of"
        raise DiscoveryFailed(
            f"--initial-advertise-peer-urls ({', '.join(map(str, advertised))}) is {among} the members that the SRV"
            f" records of {discovery.domain} name ({', '.join(map(str, found))}), and must be one of them"
        )
    return Members(cluster, ours[0])


async def _records(discovery: Discovery) -> list[Url]:
    """All members, in an order of their own. Asks until there is an answer."""
    from dns.exception import DNSException  # a quarter of a second, for those alone who need it

    loop = asyncio.get_running_loop()
    say_at = loop.time()
    while True:
        try:
            found = [url for scheme in SERVICES for url in await _of_scheme(discovery, scheme)]
            return sorted(set(found), key=str)
        except DNSException as error:
            if loop.time() >= say_at:
                say_at = loop.time() + SAY_EVERY_S
                log.warning("cannot look up SRV records of %s yet, and asks again: %s", discovery.domain, error)
        await asyncio.sleep(PAUSE_S)


async def _of_scheme(discovery: Discovery, scheme: str) -> list[Url]:
    from dns.asyncresolver import Resolver
    from dns.resolver import NXDOMAIN, NoAnswer

    try:
        answer = await Resolver().resolve(discovery.question(scheme), "SRV", lifetime=LOOK_UP_S, search=False)
    except (NXDOMAIN, NoAnswer):
        return []
    return [Url(str(record.target).rstrip(".").lower(), record.port, scheme == "https") for record in answer]


async def _at_same(found: Sequence[Url], advertised: Sequence[Url]) -> list[Url]:
    """Those that are at one of the advertised URLs."""
    alike = [url for url in found if url in advertised]
    if alike:
        return alike
    names = Names()
    where = {(url.port, each) for url in advertised for each in await _addresses(names, url)}
    return [url for url in found if any((url.port, each) in where for each in await _addresses(names, url))]


async def _addresses(names: Names, url: Url) -> Sequence[str]:
    """None where its name stands for nothing now: it is not told by its address then."""
    try:
        return await names.addresses(url.host, LOOK_UP_S)
    except OSError:
        return ()
