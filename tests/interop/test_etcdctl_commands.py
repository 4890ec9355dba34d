"""Every command of etcdctl 3.4 and 3.5, by plain TCP and by TLS, without users and with: what it prints of a fresh node
is what it prints of a fresh etcd 3.5. What a server draws or measures (ids, times, sizes) is written as a word.

``check perf`` and ``check datascale`` are left out, since they only load a server; ``migrate`` (3.4), ``completion``,
``snapshot restore`` and ``snapshot status`` ask no server (``tests/conformance/test_restore.py``).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from ratified.testing.processes import free_ports
from tests.conformance.reference import ETCD_35, etcd_35
from tests.server.test_process import Place
from tests.server.test_tls import write_pki

TIMEOUT_S = 30
HOST = "127.0.0.1"
ETCDCTL_35 = ETCD_35.with_name("etcdctl")


class Step(NamedTuple):
    """One command. Words in braces stand for what an earlier one was kept as."""

    command: str
    stdin: str = ""
    lines: int | None = None
    """It does not end by itself: how many lines of it count."""
    until: str = ""
    """It does not end by itself: the command that prints something when it has done its work."""
    keep: str = ""
    """The name of the first id that it prints."""
    only_35: bool = False
    in_any_order: bool = False
    """What it prints has the order of ids that are drawn."""


def as_root(*steps: Step) -> list[Step]:
    return [step._replace(command=f"--user=root:pw {step.command}") for step in steps]


TXN = 'value("a") = "1"\nversion("a") > "0"\n\nput a 2\nget a\ndel b\n\nget a\n\n'
NOT_TAKEN = 'create("a") = "0"\nmod("a") < "1"\n\nput a 3\n\nget --prefix n/\nput lost 1\n\n'
KV = [
    Step("put a 1"),
    Step("put a 1 --prev-kv"),
    Step("put b", stdin="from stdin"),
    Step("put --ignore-value a"),
    Step("put --ignore-value nothing"),
    Step("put --ignore-lease --lease=5 a 1"),
    Step("put '' x"),
    Step("put"),
    Step("get"),
    *(Step(f"put n/{name} {name * 3}") for name in "cab"),
    *(
        Step(f"get --prefix n/ {flags}")
        for flags in (
            "",
            "--keys-only",
            "--print-value-only",
            "--count-only -w fields",
            "--limit=2 -w json",
            "--order=DESCEND",
            "--sort-by=MODIFY",
            "--sort-by=VERSION --order=ASCEND",
            "--sort-by=nothing",
            "--hex",
            "--consistency=s",
            "--consistency=x",
            "--rev=3",
            "--rev=100",
            "-w protobuf --keys-only --limit=0 --count-only --rev=-1",
        )
    ),
    Step("get --from-key n/b"),
    Step("get --from-key --prefix n/b"),
    Step("get n/a n/c"),
    Step("get '' --from-key --keys-only"),
    *(Step(f"get a -w {kind}") for kind in ("simple", "json", "fields", "table", "none")),
    Step("txn", stdin=TXN),
    Step("txn -w json", stdin=NOT_TAKEN),
    Step("txn", stdin="\nput a 1\nput a 2\n\n\n"),
    Step("txn", stdin="nonsense\n\n\n\n"),
    Step("txn -i", stdin=TXN),
    Step("del n/a"),
    Step("del n/a"),
    Step("del --prefix n/ --prev-kv"),
    Step("del --from-key zzz -w json"),
    Step("watch a --rev=2", lines=9),
    Step("watch --prefix '' --rev=2 --prev-kv -w json", lines=1),
    Step("watch -i", stdin="watch a --rev=2\n", lines=3),
    Step("watch a --rev=2 -- echo seen", lines=4),
    Step("compaction 5"),
    Step("compaction 5 --physical"),
    Step("compaction 1000"),
    Step("compaction x"),
    Step("get a --rev=3"),
    Step("watch a --rev=3"),
]
LEASES = [
    Step("lease grant 100", keep="lease"),
    Step("lease grant 0"),
    Step("lease grant x"),
    Step("lease grant 90000000000"),
    Step("put leased 1 --lease={lease}"),
    Step("put leased 1 --lease=77"),
    Step("lease list"),
    Step("lease list -w json"),
    Step("lease timetolive {lease} --keys"),
    Step("lease timetolive 77"),
    Step("lease keep-alive --once {lease}"),
    Step("lease keep-alive {lease}", lines=1),
    Step("lease keep-alive 77"),
    Step("lease revoke {lease}"),
    Step("lease revoke {lease}"),
    Step("get leased"),
]
COORDINATION = [
    Step("lock mutex", lines=1),
    Step("lock other --ttl=20 -- echo held"),
    Step("lock other -- false"),
    Step("elect leader me", lines=2),
    Step("make-mirror --prefix=a --dest-prefix=copy/ {plain}", until="get --prefix copy/"),
]
CLUSTER = [
    Step("member list"),
    *(Step(f"member list -w {kind}") for kind in ("json", "table", "fields")),
    Step("member list --hex", only_35=True),
    Step("member add"),
    Step("member add other"),
    Step("member add other --learner --peer-urls=http://127.0.0.1:{port}", keep="member", in_any_order=True),
    Step("member promote {member}"),
    Step("member list", in_any_order=True),
    Step("member update {member} --peer-urls=http://127.0.0.1:{other_port}"),
    Step("member update 77 --peer-urls=http://127.0.0.1:{other_port}"),
    Step("member remove {member}"),
    Step("member remove {member}"),
    Step("member remove x"),
    Step("member promote 77"),
    Step("move-leader 77"),
    Step("endpoint health"),
    Step("endpoint health -w json"),
    Step("endpoint status"),
    *(Step(f"endpoint status -w {kind}") for kind in ("json", "fields", "table")),
    Step("endpoint hashkv"),
    Step("endpoint hashkv -w json --rev=6"),
    Step("alarm list"),
    Step("alarm disarm"),
    Step("defrag"),
    Step("snapshot save {directory}/snapshot.db"),
    Step("version"),
    Step("help"),
]
USERS = [
    Step("auth status", only_35=True),
    Step("auth enable"),
    Step("auth disable"),
    Step("user add root:pw"),
    Step("user add root:pw"),
    Step("user add alice --interactive=false", stdin="pw\n"),
    Step("user add bob --new-user-password=pw"),
    Step("user add carol --no-password"),
    Step("user add ''"),
    Step("role add root"),
    Step("role add reader"),
    Step("role add reader"),
    Step("role grant-permission reader read r/ --prefix"),
    Step("role grant-permission reader write w/a w/c"),
    Step("role grant-permission reader readwrite z/ --from-key"),
    Step("role grant-permission nothing read a"),
    Step("role grant-permission reader nothing a"),
    Step("role get reader"),
    Step("role get reader -w json"),
    Step("role get nothing"),
    Step("role list"),
    Step("user grant-role root root"),
    Step("user grant-role alice reader"),
    Step("user grant-role alice nothing"),
    Step("user get alice"),
    Step("user get alice --detail"),
    Step("user get nobody"),
    Step("user list"),
    Step("user passwd bob --interactive=false", stdin="new\n"),
    Step("auth enable"),
    Step("put a 1"),
    Step("user list"),
    Step("--user=alice:pw get r/1"),
    Step("--user=alice --password=pw put w/b 1"),
    Step("--user=alice:pw put r/1 1"),
    Step("--user=alice:wrong get r/1"),
    Step("--user=nobody:pw get r/1"),
    Step("--user=bob:new get r/1"),
    Step("--user=alice:pw user list"),
    Step("--user=alice:pw watch z/", lines=0),
    Step("--user=alice:pw watch other"),
    *as_root(
        Step("auth status", only_35=True),
        Step("put a 7"),
        Step("get --prefix ''"),
        Step("lease grant 50", keep="lease"),
        Step("put leased 1 --lease={lease}"),
        Step("lease timetolive {lease} --keys"),
        Step("lease keep-alive {lease} --once"),
        Step("lease list"),
        Step("lease revoke {lease}"),
        Step("lock other -- echo held"),
        Step("txn", stdin=TXN),
        Step("compaction 8"),
        Step("member list -w json"),
        Step("endpoint status -w json"),
        Step("endpoint health"),
        Step("defrag"),
        Step("alarm list"),
        Step("snapshot save {directory}/again.db"),
        Step("user list"),
        Step("role list"),
        Step("role revoke-permission reader r/ --prefix"),
        Step("role revoke-permission reader r/"),
        Step("role get reader"),
        Step("user revoke-role alice reader"),
        Step("user revoke-role alice reader"),
        Step("user delete carol"),
        Step("user delete carol"),
        Step("user delete root"),
        Step("role delete reader"),
        Step("role delete root"),
        Step("auth disable"),
    ),
    Step("get a"),
]
STEPS = [*KV, *LEASES, *CLUSTER, *USERS, *COORDINATION]
"""Last, what leaves leases behind that end by themselves."""

DRAWN = (
    (r'"(cluster_id|member_id|raft_term|raftTerm|raftIndex|raftAppliedIndex|leader|ID|id)":\d+', r'"\1":#'),
    (r'"(dbSize|dbSizeInUse|hash)":\d+', r'"\1":#'),
    (r'"((?:Cluster|Member)ID|RaftTerm|ID|Leader|(?:Raft|DB|InUse)\w*|Hash)" : -?\d+', r'"\1" : #'),
    (r"\d+(\.\d+)?(µs|ms|s)\b", "<time>"),
    (r"\b3\.5\.\d+\b", "3.5.x"),
    (r"\b[0-9a-f]{11,16}\b", "<id>"),
    (r"\b\d+(\.\d+)? [kM]?B\b", "<size>"),
    (r"\b(true|false)(?:[,| ]+\d+){3}", r"\1 <term and indexes>"),
    (r"(?m)^<(plain|secure)>, \d+$", r"<\1>, <hash>"),
    (r' \{"level".*', ""),
    (r"  +", " "),
    (r"--+", "-"),
)
"""What is a server's own, and the word for it; and how wide a table is for it."""


class Ctl:
    """A program that speaks to one server."""

    def __init__(self, program: str, endpoint: str, more: list[str], known: dict[str, str]) -> None:
        self._command = [program, f"--endpoints={endpoint}", "--dial-timeout=5s", "--command-timeout=8s", *more]
        self._known = known

    def hear(self, step: Step) -> tuple[str, ...]:
        """Its status, what it printed, and what it complained of; or the lines that count."""
        with subprocess.Popen(
            [*self._command, *_words(step.command.format(**self._known))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if step.lines is not None else subprocess.PIPE,
            text=True,
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
        ) as process:
            watchdog = threading.Timer(TIMEOUT_S, process.kill)
            watchdog.start()
            try:
                if step.until:
                    while not (done := self.hear(Step(step.until)))[1] and process.poll() is None:
                        pass
                    return done
                if step.lines is None:
                    said, complained = process.communicate(step.stdin)
                    return str(process.returncode), self._settled(said, step), self._settled(complained, step)
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(step.stdin)
                process.stdin.flush()
                return tuple(self._settled(process.stdout.readline(), step) for _ in range(step.lines))
            finally:
                watchdog.cancel()
                process.kill()

    def _settled(self, text: str, step: Step) -> str:
        """Without what is this server's own."""
        if step.keep and (found := re.search(r"\b[0-9a-f]{11,16}\b", text)):
            self._known[step.keep] = found[0]
        lines = [line for line in text.splitlines() if not line.startswith('{"level"')]
        text = "\n".join(lines)
        for name in ("plain", "secure", "peer", "port", "other_port", "directory"):
            text = text.replace(self._known[name], f"<{name}>")
        for pattern, word in DRAWN:
            text = re.sub(pattern, word, text)
        return " ".join(sorted(re.split(r'[\s,"]+', text))) if step.in_any_order else text


def _words(command: str) -> list[str]:
    return [word.strip("'") for word in command.split()]


class Pair(NamedTuple):
    """What etcdctl's words stand for at a fresh node, and at a fresh etcd."""

    ours: dict[str, str]
    etcds: dict[str, str]
    pki: Path


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pki = tmp_path / "pki"
    write_pki(pki)
    tls = [f"--cert-file={pki / 'server.crt'}", f"--key-file={pki / 'server.key'}"]
    tls.append(f"--trusted-ca-file={pki / 'ca.crt'}")
    secure = [f"https://{HOST}:{port}" for port in free_ports(2)]
    with ExitStack() as stack:
        place = Place(tmp_path)
        plain = f"http://{HOST}:{place.client_port}"
        urls = (f"--listen-client-urls={plain},{secure[0]}", f"--advertise-client-urls={plain}")
        ours = stack.enter_context(place.serving(*urls, *tls)).endpoint
        etcds = stack.enter_context(etcd_35(tmp_path / "etcd", *tls, also=secure[1]))
        known = [
            _known(tmp_path / name, each, url) for name, each, url in zip("oe", (ours, etcds), secure, strict=True)
        ]
        yield Pair(known[0], known[1], pki)


def _known(directory: Path, plain: str, secure: str) -> dict[str, str]:
    directory.mkdir()
    program = shutil.which("etcdctl")
    if program is None:
        pytest.fail("etcdctl is not installed: `make test` installs it, with Debian's package etcd-client")
    listed = subprocess.run(
        [program, f"--endpoints={plain}", "member", "list"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
        env={"ETCDCTL_API": "3"},
    ).stdout
    port, other_port = (str(port) for port in free_ports(2))
    return {
        "plain": plain,
        "secure": secure,
        "peer": listed.split(", ")[3],
        "port": port,
        "other_port": other_port,
        "directory": str(directory),
    }


@pytest.mark.parametrize("version", ["3.4", "3.5"])
@pytest.mark.parametrize("transport", ["plain", "secure"])
def test_every_command_prints_what_it_prints_of_etcd(pair: Pair, version: str, transport: str) -> None:
    program = "etcdctl" if version == "3.4" else str(ETCDCTL_35)
    options: list[str] = []
    if transport == "secure":
        options = [f"--cacert={pair.pki / 'ca.crt'}", f"--cert={pair.pki / 'client.crt'}"]
        options.append(f"--key={pair.pki / 'client.key'}")
    ours, etcds = (Ctl(program, known[transport], options, known) for known in (pair.ours, pair.etcds))
    different = []
    with ThreadPoolExecutor(2) as both:
        for step in STEPS:
            if step.only_35 and version != "3.5":
                continue
            our, etcd = both.map(lambda ctl, step=step: ctl.hear(step), (ours, etcds))
            if our != etcd:
                different.append((step.command, our, etcd))
    assert not different, "\n".join(f"{command}\n  here {our}\n  etcd {etcd}" for command, our, etcd in different)
