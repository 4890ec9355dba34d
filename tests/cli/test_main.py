"""Help, usage errors and failures of the command: one clear line each, and the right exit status."""

from __future__ import annotations

import inspect
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from ratified.cli.main import EXIT_USAGE, make_app, run
from ratified.cli.serve import serve, with_values
from ratified.server.options import PANELS
from ratified.server.sources import CONFIG_FILE, KNOWN


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something, as it is typed."""
    if not hasattr(group, "commands"):
        yield path
        return
    for name, command in group.commands.items():
        yield from commands(command, (*path, name))


COMMANDS = sorted(commands(typer.main.get_command(make_app())))


def one_error_line(capsys: pytest.CaptureFixture[str]) -> str:
    caught = capsys.readouterr()
    assert caught.out == ""
    lines = caught.err.splitlines()
    assert len(lines) == 1, caught.err
    assert lines[0].startswith("ratified: error: ")
    return lines[0].removeprefix("ratified: error: ")


def test_without_a_command_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    told = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command[0]} " in told


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_commands_help_has_an_example(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == 0
    told = capsys.readouterr().out
    assert "Example" in told
    assert f"ratified {' '.join(command)}" in told.partition("Example")[2]


WITHOUT_JSON = {"serve", "up"}
"""They run on, and log."""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_that_answers_can_answer_in_json(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--help"]) == 0
    assert ("--json" in capsys.readouterr().out) is (command[0] not in WITHOUT_JSON)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    def asked(how: str, words: str) -> str:
        variables = {"_RATIFIED_COMPLETE": how, "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        variables |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        entry = "import sys; sys.argv[0] = 'ratified'; from ratified.cli.main import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", entry],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stderr == ""
        return done.stdout

    assert "ratified" in asked(f"source_{shell}", "")
    assert "timetolive" in asked(f"complete_{shell}", "ratified lease t")
    assert "--from-key" in asked(f"complete_{shell}", "ratified get --from")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("ratified ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sevre"], "No such command 'sevre'"),
        (["serve", "--data-dirr", "x"], "No such option: --data-dirr"),
        (["put"], "Missing argument"),
        (["get", "k", "--prefix", "--from-key"], "--prefix and --from-key exclude each other"),
        (["get", "k", "--keys-only", "--raw"], "exclude each other"),
        (["put", "xyz", "v", "--hex"], "'xyz' is not hexadecimal, and --hex is given"),
        (["put", "k", "v", "--ignore-value"], "--ignore-value keeps the value that the key has: give none"),
        (["put", "k", "v", "--lease", "zz"], "--lease 'zz' is no id: those are hexadecimal"),
        (["lease", "grant", "0"], "TTL"),
        (["lease", "revoke", "nine"], "LEASE 'nine' is no id"),
        (["compact", "now"], "REVISION"),
        (["elect", "name"], "give either a PROPOSAL or --listen"),
        (["check", "perf", "--load", "xxl"], "'xxl' is not one of"),
        (["up", "--nodes", "0"], "--nodes is 0; give 1 to 9"),
        (["up", "--nodes", "many"], "--nodes"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert words in one_error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--heartbeat-interval", "x"], "flag --heartbeat-interval: 'x' is not a whole number"),
        (["get", "k", "--endpoints", "ftp://h:1"], "--endpoints: endpoint 'ftp://h:1' is not of the form host:port"),
        (
            ["get", "k", "--endpoints", "http://h:1", "--cacert", "c"],
            "--endpoints: endpoint 'http://h:1' is one without TLS",
        ),
        (["get", "k", "--cert", "c"], "--key: not given, and a certificate needs its key"),
        (["get", "k", "--cacert", "no-such-file"], "--cacert: no-such-file: No such file or directory"),
        (["get", "k", "--endpoints", ","], "at least one endpoint"),
    ],
)
def test_a_wrong_value_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 1
    assert words in one_error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (["--auto-tls", "--name", "a"], ["--auto-tls=true", "--name", "a"]),
        (["--name=a", "--client-cert-auth"], ["--name=a", "--client-cert-auth=true"]),
        (["--quiescence", "false", "--auto-tls", "true"], ["--quiescence", "false", "--auto-tls", "true"]),
        (["--auto-tls=false"], ["--auto-tls=false"]),
        (["-auto-tls", "-name", "a"], ["--auto-tls=true", "--name", "a"]),
        (["-name=a", "--name", "-auto-tls"], ["--name=a", "--name", "-auto-tls"]),
        (["--pre-vote", "--force-new-cluster"], ["--pre-vote=true", "--force-new-cluster=true"]),
        (["--wal-dir", "d", "--max-wals", "3"], ["--wal-dir", "d", "--max-wals", "3"]),
        (["--no-such", "--auto-tls"], ["--no-such", "--auto-tls=true"]),
    ],
)
def test_a_flag_of_yes_or_no_may_stand_alone(arguments: list[str], read: list[str]) -> None:
    assert with_values(arguments) == read


def test_what_stands_alone_is_served(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--client-cert-auth", "--listen-client-urls", "https://127.0.0.1:0", "--auto-tls"]) == 1
    assert "flag --client-cert-auth: it needs --trusted-ca-file" in one_error_line(capsys)


def test_nobody_at_the_endpoint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{unused.getsockname()[1]}"
        assert run(["get", "k", "--endpoints", endpoint, "--timeout", "0.2"]) == 1
    assert f"endpoints {endpoint}" in one_error_line(capsys)


def test_up_refuses_a_port_that_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = used.getsockname()[1]
        (tmp_path / "cluster.toml").write_text(f"client-ports = [{port}]\npeer-ports = [1]\n")
        assert run(["up", "--nodes", "1", "--data-dir", str(tmp_path)]) == 1
    assert f"port {port}, which {tmp_path}/cluster.toml names, is in use" in one_error_line(capsys)


def test_up_refuses_another_number_of_nodes_than_the_directory_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster.toml").write_text("client-ports = [1]\npeer-ports = [2]\n")
    assert run(["up", "--data-dir", str(tmp_path)]) == 1
    assert "is of a cluster of 1 nodes: say --nodes 1" in one_error_line(capsys)


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ratified", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("ratified ")


def test_standard_streams_may_be_closed() -> None:
    command = f"exec {sys.executable} -m ratified no-such-command <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == EXIT_USAGE


def test_help_waits_for_nothing_heavy() -> None:
    heavy = ("grpc", "rich", "cryptography", "ratified.sim", "ratified.kv")
    script = f"import sys; from ratified.cli.main import run; run([]); print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_option_of_a_member_and_every_flag_of_etcd_is_a_flag() -> None:
    flags = {name.replace("_", "-") for name in inspect.signature(serve).parameters}
    assert flags == KNOWN | {CONFIG_FILE}


def test_options_stand_in_the_help_under_their_headings(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--help"]) == 0
    told = capsys.readouterr().out
    for heading, options in PANELS.items():
        listed = re.findall(r"^  --([a-z-]+)", told.partition(f"\n{heading}:\n")[2].partition("\n\n")[0], flags=re.M)
        assert listed == [option.name for option in options]


def test_only_an_initial_member_can_be_left_out_at_the_first_start(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ratified", "serve", "--data-dir", str(tmp_path / "a"), "--initial-absent", "b"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "the absent member 'b' is not in the cluster (default)" in ended.stderr
