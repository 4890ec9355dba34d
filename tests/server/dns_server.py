"""A small name server on 127.0.0.1:53: ``python dns_server.py ZONE-FILE ORIGIN``.

The zone is read at each question, so a test may change it. Questions about names of another zone are not answered.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.zone


def answer(zone_file: Path, origin: str, question: bytes) -> bytes | None:
    asked = dns.message.from_wire(question)
    zone = dns.zone.from_text(zone_file.read_text(), origin=origin, relativize=False, check_origin=False)
    name, kind = asked.question[0].name, asked.question[0].rdtype
    if not name.is_subdomain(dns.name.from_text(origin)):
        return None
    reply = dns.message.make_response(asked)
    reply.flags |= dns.flags.AA | dns.flags.RA
    node = zone.get_node(name)
    if node is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif (found := zone.get_rrset(name, kind)) is not None:
        reply.answer.append(found)
    return reply.to_wire()


def main() -> None:
    zone_file, origin = Path(sys.argv[1]), sys.argv[2]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 53))
        print("answers", flush=True)
        while True:
            question, client = bound.recvfrom(4096)
            if (reply := answer(zone_file, origin, question)) is not None:
                bound.sendto(reply, client)


if __name__ == "__main__":
    main()
