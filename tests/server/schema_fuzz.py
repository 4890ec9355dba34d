"""Asks a running node what etcd's schema allows, and what it does not: every method, by gRPC and as JSON.

    python -m tests.server.schema_fuzz [--inputs 100000] [--seed 1]

Messages are drawn from the descriptors, with odd values; some are broken afterwards. Input i is a function of the seed
and i. What fails: no answer in time, an error that says no cause, a lost connection, a defect in the server's log,
memory that grows without bound, or a node that serves no more.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from ratified.api import election
from ratified.api.lock import EXPIRED
from ratified.api.methods import METHODS, MethodKind
from ratified.api.translation import ROUTES
from ratified.client import Client
from ratified.server.calls import DEFECT
from ratified.testing.processes import LocalNode
from ratified.wire.etcd import errors
from tests.server.test_process import Place

WORKERS = 8
ANSWER_S = 20.0
"""No answer within it is a hang."""
WAIT_S = 0.15
"""For an answer of what may rightly wait for ever."""
WAITING = frozenset(
    {
        "/etcdserverpb.Watch/Watch",
        "/etcdserverpb.Lease/LeaseKeepAlive",
        "/v3lockpb.Lock/Lock",
        "/v3electionpb.Election/Campaign",
        "/v3electionpb.Election/Observe",
        "/grpc.health.v1.Health/Watch",
    }
)
DEPTH_MAX = 4
DISARMED_EVERY = 10
"""Inputs of one worker."""
MEMORY_GROWTH_MIB_MAX = 256
"""Of what a node keeps after a tenth of the inputs; keys are few, revisions of them as many as there are writes."""
NUMBERS = (0, 1, -1, 2, 3, 7, 60, 1000, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, -(2**63))
BYTES = (b"", b"\0", b"a", b"a\0", b"b", b"k", b"k/1", b"\xff", b"\xff\xff", b"\xc3\x28", b"x" * 5000)
STRINGS = ("", "a", "alice", "é", "\0", "x" * 200, "a b", "http://127.0.0.1:1", "http://[::1", "3.5.0", "%s{}\n")
JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0.5,
    1e300,
    2**70,
    "",
    "NaN",
    "a===",
    "-1",
    "KEY",
    [],
    [[]],
    {},
    {"a": {}},
    [None],
)
METADATA = ((), (), (), (("token", "x.7"),), (("authorization", "Bearer é".encode().hex()),), (("hasleader", "true"),))


class Input(NamedTuple):
    """One call: by gRPC its messages, as JSON its body."""

    path: str
    """Of gRPC, or of HTTP."""
    method: str
    data: tuple[bytes, ...]
    metadata: tuple[tuple[str, str], ...]
    is_json: bool


def drawn(chance: random.Random) -> Input:
    is_json = chance.random() < 0.4
    path = chance.choice(sorted(ROUTES if is_json else METHODS))
    method = ROUTES[path].path if is_json else path
    row = METHODS[method]
    count = chance.choice((1, 1, 2, 3)) if row.kind is MethodKind.STREAM else 1
    messages = [b"" if row.request is None else _message(chance, row.request, 0) for _ in range(count)]
    metadata = chance.choice(METADATA)
    if is_json:
        return Input(path, method, (_as_json(chance, messages),), metadata, True)
    data = tuple(each if isinstance(each, bytes) else each.SerializeToString() for each in messages)
    if chance.random() < 0.3:
        data = tuple(_broken(chance, each) for each in data)
    return Input(path, method, data, metadata, False)


def _message(chance: random.Random, kind: type[Message], depth: int) -> Message:
    message = kind()
    for each in cast(Descriptor, kind.DESCRIPTOR).fields:
        if chance.random() < 0.5 or (each.message_type is not None and depth >= DEPTH_MAX):
            continue
        if not each.is_repeated:
            _set(chance, message, each, depth)
            continue
        values = [_value(chance, each, depth) for _ in range(chance.choice((1, 1, 2, 3, 150)) if depth < 2 else 1)]
        getattr(message, each.name).extend(values)
    return message


def _set(chance: random.Random, message: Message, each: FieldDescriptor, depth: int) -> None:
    value = _value(chance, each, depth)
    if each.message_type is None:
        setattr(message, each.name, value)
    else:
        getattr(message, each.name).CopyFrom(value)


def _value(chance: random.Random, each: FieldDescriptor, depth: int) -> Any:
    if each.message_type is not None:
        return _message(chance, GetMessageClass(each.message_type), depth + 1)
    if each.enum_type is not None:
        return chance.choice([*(value.number for value in each.enum_type.values), 77, -1])
    if each.type == FieldDescriptor.TYPE_BYTES:
        return chance.choice((*BYTES, chance.randbytes(chance.randrange(40))))
    if each.type == FieldDescriptor.TYPE_STRING:
        return chance.choice(STRINGS)
    if each.type == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.5
    low, high = {
        FieldDescriptor.TYPE_INT32: (-(2**31), 2**31),
        FieldDescriptor.TYPE_UINT32: (0, 2**32),
        FieldDescriptor.TYPE_UINT64: (0, 2**64),
    }.get(each.type, (-(2**63), 2**63))
    return chance.choice([number for number in NUMBERS if low <= number < high])


def _broken(chance: random.Random, data: bytes) -> bytes:
    if not data:
        return chance.randbytes(chance.randrange(1, 30))
    at = chance.randrange(len(data))
    kinds = (
        data[:at],
        data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
        data[:at] + chance.randbytes(3) + data[at:],
        data + data,
        data[:at] + b"\xff" * 11,
        b"\x0b" * 200 + data,  # groups in groups
    )
    return chance.choice(kinds)


def _as_json(chance: random.Random, messages: list[Any]) -> bytes:
    values = [MessageToDict(each) if isinstance(each, Message) else {} for each in messages]
    if chance.random() < 0.4:
        _misplace(chance, values)
    text = "\n".join(json.dumps(value) for value in values).encode()
    if chance.random() < 0.2:
        nested = chance.choice((b"[", b'{"a":')) * 5000
        text = chance.choice((_broken(chance, text), nested, text + b"}", b'"' + text, b"\xff" + text, b""))
    return text


def _misplace(chance: random.Random, values: list[Any]) -> None:
    """Put something odd somewhere."""
    place: Any = values
    while True:
        keys: list[Any] = sorted(place) or ["odd"] if isinstance(place, dict) else [*range(len(place))]
        key = chance.choice(keys)
        found = place.get(key) if isinstance(place, dict) else place[key]
        if not isinstance(found, dict | list) or not found or chance.random() < 0.2:
            place[key] = chance.choice(JSON_VALUES)
            return
        place = found


@dataclass
class Report:
    """What came of the inputs."""

    codes: Counter[str] = field(default_factory=Counter)
    """By the code of gRPC; ``no answer`` of what may wait."""
    failures: list[str] = field(default_factory=list)

    def add(self, asked: Input, code: int, text: str) -> None:
        self.codes[grpc_name(code)] += 1
        if is_without_cause(asked, code, text):
            self.failures.append(f"{grpc_name(code)} {text}: {asked!r:.500}")


NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}
CAUSES = {(each.code, each.text) for each in vars(errors).values() if isinstance(each, errors.Error)} | {
    (errors.UNKNOWN, text) for text in (election.NO_LEADER, election.NOT_LEADER, election.MISSING_LEADER_KEY, EXPIRED)
}
"""Every error that etcd has, or this."""


def grpc_name(code: int) -> str:
    return NAMES.get(code, str(code))


def is_without_cause(asked: Input, code: int, text: str) -> bool:
    """An error of a kind that may be the server's own fault, and does not say otherwise."""
    if code == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]:
        return asked.method not in WAITING
    own = ("UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "CANCELLED", "ABORTED")
    return grpc_name(code) in own and (code, text) not in CAUSES and not text.startswith(errors.NOT_DECODABLE.text)


class Asker:
    """One client, of either kind."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._channel = grpc.insecure_channel(endpoint, [("grpc.use_local_subchannel_pool", 1)])
        self._http = http.client.HTTPConnection(endpoint, timeout=ANSWER_S)

    def close(self) -> None:
        self._channel.close()
        self._http.close()

    def ask(self, asked: Input) -> tuple[int, str]:
        """How it ended: gRPC's code, and the text of an error."""
        return self._ask_json(asked) if asked.is_json else self._ask_grpc(asked)

    def _ask_grpc(self, asked: Input) -> tuple[int, str]:
        timeout_s = WAIT_S if asked.method in WAITING else ANSWER_S
        try:
            answers = self._channel.stream_stream(asked.path)(iter(asked.data), timeout_s, asked.metadata)
            for _ in answers:
                pass
        except grpc.RpcError as error:
            return error.code().value[0], error.details()
        return 0, ""

    def _ask_json(self, asked: Input) -> tuple[int, str]:
        if asked.method in WAITING:
            self._http.close()
            self._http.timeout = WAIT_S
        try:
            self._http.request("POST", asked.path, asked.data[0], {f"grpc-metadata-{k}": v for k, v in asked.metadata})
            answer = self._http.getresponse()
            body = answer.read()
        except TimeoutError:
            self._http.close()
            return grpc.StatusCode.DEADLINE_EXCEEDED.value[0], "no answer"
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            return grpc.StatusCode.UNAVAILABLE.value[0], repr(error)
        finally:
            if asked.method in WAITING:  # the time-out is the connection's
                self._http.close()
                self._http.timeout = ANSWER_S
        if answer.status == 200:
            return 0, ""
        said = json.loads(body)
        return said["code"], said["message"]


def resident_mib(node: LocalNode) -> float:
    status = Path(f"/proc/{node.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def disarm(node: LocalNode) -> None:
    """Take back the alarms that were raised: while one stands, most calls are only refused."""
    with Client([node.endpoint], timeout_s=ANSWER_S) as client:
        for alarm in client.alarms():
            client.disarm(alarm)


def fuzz(node: LocalNode, seed: int, count: int) -> Report:
    """Ask all of it, and look at the node: it must be the same process, and serve."""
    report = Report()
    pid = node.pid

    def work(indexes: range) -> None:
        asker = Asker(node.endpoint)
        for count, index in enumerate(indexes):
            if count % DISARMED_EVERY == 0:
                disarm(node)
            asked = drawn(random.Random(f"{seed}/{index}"))
            report.add(asked, *asker.ask(asked))
        asker.close()

    kept_mib = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for part in (range(count // 10), range(count // 10, count)):
            list(pool.map(work, (part[worker::WORKERS] for worker in range(WORKERS))))
            kept_mib.append(resident_mib(node))
    early_mib, grown_mib = kept_mib[0], kept_mib[1] - kept_mib[0]
    print(
        f"{count} inputs: {dict(report.codes.most_common())}; {early_mib:.0f} MiB, and {grown_mib:.0f} more at the end"
    )
    if node.pid != pid or pid is None:
        report.failures.append("the node has ended")
    if grown_mib > MEMORY_GROWTH_MIB_MAX:
        report.failures.append(f"the node has grown by {grown_mib:.0f} MiB")
    defect = DEFECT.rpartition("%s")[2]
    report.failures += [line for line in node.log_file.read_text().splitlines() if defect in line]
    disarm(node)
    with Client([node.endpoint], timeout_s=ANSWER_S) as client:
        client.put("after", "all")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, Place(Path(directory)).serving("--bcrypt-cost=4") as node:
        report = fuzz(node, given.seed, given.inputs)
    print(f"{time.monotonic() - began_s:.0f} s, {len(report.failures)} failures", *report.failures[:100], sep="\n")
    sys.exit(bool(report.failures))


if __name__ == "__main__":
    main()
