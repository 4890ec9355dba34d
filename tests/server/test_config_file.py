"""etcd's YAML file: the one that it gives as an example, sections, kinds of values, and every mistake's one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.server.config import ServerConfig, load
from ratified.server.sources import ConfigError

EXAMPLE = """
# Written as the example that comes with etcd is: everything is there, most of it empty.
name: 'm1'
data-dir:
wal-dir:
snapshot-count: 10000
heartbeat-interval: 100
election-timeout: 1000
quota-backend-bytes: 0
listen-peer-urls: https://127.0.0.1:2380
listen-client-urls: https://127.0.0.1:2379
max-snapshots: 5
max-wals: 5
initial-advertise-peer-urls: https://127.0.0.1:2380
advertise-client-urls: https://127.0.0.1:2379
discovery:
discovery-fallback: 'proxy'
discovery-proxy:
discovery-srv:
initial-cluster: 'm1=https://127.0.0.1:2380'
initial-cluster-token: 'etcd-cluster'
initial-cluster-state: 'new'
strict-reconfig-check: false
enable-pprof: true
proxy: 'off'
proxy-failure-wait: 5000
proxy-refresh-interval: 30000
proxy-dial-timeout: 1000
proxy-write-timeout: 5000
proxy-read-timeout: 0
client-transport-security:
  cert-file: client.crt
  key-file: client.key
  client-cert-auth: true
  trusted-ca-file: ca.crt
  auto-tls: false
peer-transport-security:
  cert-file: peer.crt
  key-file: peer.key
  client-cert-auth: off
  trusted-ca-file:
  auto-tls: no
log-level: debug
logger: zap
log-outputs: [stderr]
force-new-cluster: false
auto-compaction-mode: periodic
auto-compaction-retention: "1"
"""


def loaded(directory: Path, content: str, name: str = "etcd.conf.yml") -> ServerConfig:
    file = directory / name
    file.write_text(content)
    return load({}, {}, file)


def test_etcds_example_is_taken(tmp_path: Path) -> None:
    config = loaded(tmp_path, EXAMPLE)
    assert (config.name, config.data_dir, config.snapshot_count) == ("m1", Path("m1.ratified"), 10000)
    assert [str(url) for url in config.listen_client_urls] == ["https://127.0.0.1:2379"]
    assert config.client_tls is not None
    assert (config.client_tls.cert_file, config.client_tls.client_cert_auth) == (Path("client.crt"), True)
    assert config.peer_tls is not None
    assert (config.peer_tls.cert_file, config.peer_tls.client_cert_auth) == (Path("peer.crt"), False)
    assert config.history_kept_s == 3600
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("etcd.conf", "# a comment\n\nname: y\n"),
        ("etcd", '{"name": "y"}'),
        ("a.yaml", "name: y"),
        ("a.json", '{"name": "y", "listen-client-urls": ["http://h:1", "http://h:2"]}'),
    ],
)
def test_yaml_is_known_by_its_name_or_by_its_first_line(tmp_path: Path, name: str, content: str) -> None:
    assert loaded(tmp_path, content, name).name == "y"


def test_toml_needs_no_name_either(tmp_path: Path) -> None:
    assert loaded(tmp_path, '\n# a comment\nname = "t"\n', "ratified.conf").name == "t"
    assert loaded(tmp_path, "", "empty.conf").name == loaded(tmp_path, "", "empty.yml").name == "default"


def test_lists_and_words_are_said_as_in_yaml(tmp_path: Path) -> None:
    content = "listen-client-urls: [http://h:1, http://h:2]\nname: 007\nquiescence: Off\n"
    config = loaded(tmp_path, content)
    assert [str(url) for url in config.listen_client_urls] == ["http://h:1", "http://h:2"]
    assert (config.name, config.quiescence) == ("007", False)


def test_a_flag_and_a_variable_count_before_etcds_file_too(tmp_path: Path) -> None:
    file = tmp_path / "e.yml"
    file.write_text("name: file\nsnapshot-count: 1\nheartbeat-interval: 20\n")
    config = load({"name": "flag"}, {"ETCD_SNAPSHOT_COUNT": "2"}, file)
    assert (config.name, config.snapshot_count, config.heartbeat_interval_ms) == ("flag", 2, 20)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name: [", "is not valid YAML: while parsing a flow node"),
        ("name: a\n---\nname: b\n", "is not valid YAML: expected a single document"),
        ("- name", "is no configuration: write options as lines of the form data-dir: /var/lib/ratified"),
        ("nane: a", "nane in {file}, line 1: unknown option; did you mean 'name'?"),
        ("? [name]\n: a", "{file}, line 1: a list or a section is no name of an option"),
        ("name: &a [*a]", "name in {file}, line 1: it must be one value, or a list of values"),
        ("name: " + "[" * 5000, "{file} is not valid YAML: maximum recursion depth exceeded"),
        ("zzz: a", "zzz in {file}, line 1: unknown option; remove it, or correct its name"),
        ("name: a\nname: b", "name in {file}, line 2: the file has it twice: keep one of them"),
        ("name: {a: b}", "name in {file}, line 1: it must be one value, or a list of values"),
        ("\nheartbeat-interval: ten", "heartbeat-interval in {file}, line 2: 'ten' is not a whole number"),
        ("quiescence: perhaps", "quiescence in {file}, line 1: 'perhaps' is neither true nor false"),
        ("force-new-cluster: true", "force-new-cluster in {file}, line 1: a member is not turned into a cluster"),
        ("wal-dir: /wal", "wal-dir in {file}, line 1: the log is kept in --data-dir"),
        (
            "client-transport-security: yes",
            "client-transport-security in {file}, line 1: it is a section, of keys such as cert-file, key-file",
        ),
        (
            "peer-transport-security:\n  peer-cert-file: x",
            "peer-transport-security in {file}, line 2: unknown key 'peer-cert-file'; did you mean 'cert-file'?",
        ),
        ("client-transport-security:\n  zzz: x", "unknown key 'zzz'; it may have: cert-file, key-file, "),
        (
            "client-transport-security:\n  auto-tls: maybe",
            "client-transport-security.auto-tls in {file}, line 2: 'maybe' is neither true nor false",
        ),
    ],
)
def test_a_wrong_file_is_one_line_that_names_file_key_and_remedy(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, content)
    assert words.format(file=tmp_path / "etcd.conf.yml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "e.yml"
    file.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="neither TOML nor YAML"):
        load({}, {}, file)


def test_a_time_without_a_unit_is_nanoseconds_in_yaml_alone(tmp_path: Path) -> None:
    assert loaded(tmp_path, "grpc-keepalive-interval: 7200000000000").keepalive_interval_s == 7200
    assert loaded(tmp_path, "grpc-keepalive-interval: 2h").keepalive_interval_s == 7200
    assert loaded(tmp_path, "grpc-keepalive-interval: 0").keepalive_interval_s == 0
    with pytest.raises(ConfigError, match="'7200' is no time such as"):
        loaded(tmp_path, "grpc-keepalive-interval = 7200", "r.toml")


MARKS = "[]{}:,-?&*!|>'\"#%@\n \t=~\0"
WORDS = ("name", "cert-file", "client-transport-security", "a", "1", "null", "<<", "---")
TEXTS = st.lists(st.sampled_from((*MARKS, *WORDS)), max_size=30).map("".join)


def wrong_line(directory: Path, text: str, name: str) -> str:
    """What is wrong with such a file; "": nothing."""
    try:
        loaded(directory, text, name)
    except ConfigError as wrong:
        return str(wrong)
    return ""


@given(text=TEXTS, name=st.sampled_from(["f.yml", "f.toml", "f"]))
def test_any_file_is_a_configuration_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    assert "\n" not in wrong_line(tmp_path_factory.getbasetemp(), text, name)
