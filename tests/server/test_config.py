"""Flags, variables, file and defaults, and every wrong value's one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.server.config import ServerConfig, load
from ratified.server.options import OPTIONS
from ratified.server.sources import ConfigError, variable_of


def loaded(environment: dict[str, str] | None = None, file: Path | None = None, **flags: str) -> ServerConfig:
    return load({name.replace("_", "-"): text for name, text in flags.items()}, environment or {}, file)


def test_no_flags_are_a_single_member_on_etcds_ports() -> None:
    config = loaded()
    assert config.data_dir == Path("default.ratified")
    assert [str(url) for url in config.listen_client_urls] == ["http://localhost:2379"]
    assert config.advertise_client_urls == config.listen_client_urls
    assert {name: [str(url) for url in urls] for name, urls in config.initial_cluster.items()} == {
        "default": ["http://localhost:2380"]
    }
    assert (config.heartbeat_interval_ms, config.election_timeout_ms) == (100, 1000)
    assert (config.max_request_bytes, config.quota_backend_bytes) == (1572864, 2 << 30)


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('name = "file"\nheartbeat-interval = 20\nelection-timeout = 300\nsnapshot-count = 7\n')
    config = loaded({"RATIFIED_NAME": "variable", "RATIFIED_HEARTBEAT_INTERVAL": "30"}, file, name="flag")
    assert config.name == "flag"
    assert config.heartbeat_interval_ms == 30
    assert config.election_timeout_ms == 300
    assert config.snapshot_count == 7
    assert config.max_request_bytes == 1572864


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_comes_from_the_same_places(tmp_path: Path, engine: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f'engine = "{engine}"\n')
    assert loaded(file=file).engine == engine
    assert loaded({"RATIFIED_ENGINE": engine}).engine == engine
    assert loaded(engine=engine).engine == engine
    assert loaded().engine == DEFAULT_ENGINE


def test_an_empty_variable_counts_as_not_set() -> None:
    assert loaded({"RATIFIED_NAME": ""}).name == "default"


def test_every_option_can_be_given_in_each_of_the_three_places(tmp_path: Path) -> None:
    texts = {option.name: option.default for option in OPTIONS if option.default}
    texts |= {
        "data-dir": "d",
        "advertise-client-urls": "http://a:1",
        "initial-advertise-peer-urls": "https://a:2",
        "initial-cluster": "default=https://a:2",
        "initial-absent": "b",
        "listen-client-urls": "https://a:1",
    }
    files = ("cert-file", "key-file", "trusted-ca-file")
    texts |= {name: name for each in files for name in (each, f"peer-{each}")}
    texts |= {"peer-client-cert-file": "c", "peer-client-key-file": "k", "tls-max-version": "TLS1.3"}
    texts |= {"listen-client-http-urls": "http://a:3", "listen-metrics-urls": "http://a:4", "cors": "http://a"}
    texts |= {"cipher-suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}
    texts |= {"client-crl-file": "c", "peer-crl-file": "c", "client-cert-allowed-hostname": "a,b"}
    texts |= {"peer-cert-allowed-cn": "a", "distributed-tracing-instance-id": "i"}
    file = tmp_path / "r.toml"
    file.write_text("".join(f'{name} = "{text}"\n' for name, text in texts.items()))
    assert {option.name for option in OPTIONS} - set(texts) == {
        "peer-cert-allowed-hostname",  # not beside the other
        "discovery-srv",  # nor these beside initial-cluster
        "discovery-srv-name",
    }
    variables = {variable_of(option.name): texts[option.name] for option in OPTIONS if option.name in texts}
    assert load(texts, {}, None) == load({}, variables, None) == load({}, {}, file)


def test_the_file_takes_lists_of_urls(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('listen-client-urls = ["http://127.0.0.1:1", "http://[::1]:1"]\n')
    assert [str(url) for url in loaded(file=file).listen_client_urls] == ["http://127.0.0.1:1", "http://[::1]:1"]


@pytest.mark.parametrize(("text", "means"), [("false", False), ("true", True), ('"false"', False)])
def test_the_file_says_yes_and_no_as_toml_does(tmp_path: Path, text: str, means: bool) -> None:
    file = tmp_path / "r.toml"
    file.write_text(f"quiescence = {text}\n")
    assert loaded(file=file).quiescence is means


def test_a_members_own_peer_urls_come_from_the_cluster() -> None:
    config = loaded(name="b", initial_cluster="a=http://h:1,b=http://h:2,b=http://h:3")
    assert [str(url) for url in config.initial_advertise_peer_urls] == ["http://h:2", "http://h:3"]


def test_a_socket_of_this_machine_is_not_told_to_others_unless_it_is_all_there_is() -> None:
    both = loaded(listen_client_urls="unix:///run/r,http://h:1")
    assert [str(url) for url in both.listen_client_urls] == ["unix:///run/r", "http://h:1"]
    assert [str(url) for url in both.advertise_client_urls] == ["http://h:1"]
    assert [str(url) for url in loaded(listen_client_urls="unix:///run/r").advertise_client_urls] == ["unix:///run/r"]


@pytest.mark.parametrize(
    ("mode", "retention", "kept"),
    [
        ("periodic", "0", (None, None)),
        ("periodic", "1", (3600, None)),
        ("periodic", "30m", (1800, None)),
        ("periodic", "1h30m10s", (5410, None)),
        ("periodic", "1.5h", (5400, None)),
        ("periodic", "0s", (None, None)),
        ("revision", "0", (None, None)),
        ("revision", "1000", (None, 1000)),
    ],
)
def test_history_is_kept_for_hours_for_a_time_or_for_revisions(
    mode: str, retention: str, kept: tuple[float | None, int | None]
) -> None:
    config = loaded(auto_compaction_mode=mode, auto_compaction_retention=retention)
    assert (config.history_kept_s, config.history_kept_revisions) == kept


def test_an_unknown_variable_is_a_warning_that_names_what_was_meant() -> None:
    warnings = loaded({"RATIFIED_DATA_DIRR": "x", "RATIFIED_ENDPOINTS": "y"}).warnings
    assert warnings == ("unknown variable RATIFIED_DATA_DIRR is ignored; did you mean 'RATIFIED_DATA_DIR'?",)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"heartbeat_interval": "ten"}, "flag --heartbeat-interval: 'ten' is not a whole number"),
        ({"heartbeat_interval": "0"}, "flag --heartbeat-interval: it must be at least 1"),
        ({"snapshot_count": "-1"}, "flag --snapshot-count: -1 is negative"),
        ({"read_lease": "1500"}, r"read-lease \(1500 ms\) must be at most election-timeout \(1000 ms\)"),
        ({"read_lease": "1500", "read_lease_kind": "log"}, "acknowledges no write before its lease ends"),
        ({"read_lease_kind": "log"}, "flag --read-lease-kind: read-lease-kind is 'log', and read-lease 0"),
        ({"read_lease_kind": "paper"}, "flag --read-lease-kind: 'paper'"),
        ({"read_lease": "200"}, r"200 ms, 163 ms if clocks drift by 10 percent\) must last at least 2 times heartbeat"),
        ({"clock_drift": "60"}, r"clock-drift \(60 percent\) must be at most 50"),
        ({"election_timeout": "400"}, r"election-timeout \(400 ms\) must be at least 5 times heartbeat-interval"),
        ({"election_timeout": "60000"}, "must be at most 50000 ms"),
        ({"checkpoint_log_bytes": "10"}, r"checkpoint-log-bytes \(10\) must be at least 1048576"),
        ({"auto_compaction_retention": "soon"}, "'soon' is no number of hours, and no time such as 30m or 72h30m"),
        ({"auto_compaction_retention": "-1"}, "'-1' is no number of hours"),
        ({"auto_compaction_retention": "5ms"}, "'5ms' is shorter than 1 s"),
        ({"auto_compaction_retention": "1h", "auto_compaction_mode": "revision"}, "'1h' is not a whole number"),
        ({"auto_compaction_mode": "never"}, "flag --auto-compaction-mode: 'never' is not one of: periodic, revision"),
        ({"max_txn_ops": "0"}, "flag --max-txn-ops: it must be at least 1"),
        ({"max_txn_ops": "20000"}, r"max-txn-ops \(20000\) must be at most 10000"),
        ({"grpc_keepalive_interval": "soon"}, "'soon' is no time such as 500ms, 10s or 1h30m"),
        ({"grpc_keepalive_interval": "500ms"}, "flag --grpc-keepalive-interval: it must be at least 1s, or 0"),
        ({"grpc_keepalive_timeout": "1ns"}, "flag --grpc-keepalive-timeout: it must be at least 1s, or 0"),
        (
            {"watch_progress_notify_interval": "50ms"},
            "flag --watch-progress-notify-interval: it must be at least 100ms",
        ),
        ({"watch_progress_notify_interval": "0"}, "flag --watch-progress-notify-interval: it must be at least 100ms"),
        ({"cipher_suites": "TLS_RSA_WITH_RC4_128_SHA"}, "'TLS_RSA_WITH_RC4_128_SHA' is no cipher suite that is served"),
        ({"tls_min_version": "TLS1.1"}, "'TLS1.1' is not one of: TLS1.2, TLS1.3"),
        ({"tls_min_version": "TLS1.3", "tls_max_version": "TLS1.2"}, "must not be older than tls-min-version"),
        (
            {"tls_min_version": "TLS1.3", "cipher_suites": "TLS_RSA_WITH_AES_128_GCM_SHA256"},
            "cipher suites are chosen for TLS 1.2, and tls-min-version is TLS1.3",
        ),
        (
            {"tls_max_version": "TLS1.2", "cipher_suites": "TLS_AES_128_GCM_SHA256"},
            "these are of TLS 1.3, and tls-max-version is TLS1.2",
        ),
        (
            {"listen_peer_urls": "https://h:1", "peer_auto_tls": "true", "peer_client_cert_file": "c"},
            "--peer-client-cert-file, --peer-client-key-file go together",
        ),
        (
            {
                "listen_peer_urls": "https://h:1",
                "peer_auto_tls": "true",
                "peer_client_cert_file": "c",
                "peer_client_key_file": "k",
            },
            "it goes beside --peer-cert-file, which members listen by",
        ),
        ({"max_request_bytes": "10"}, "must be at least 1024"),
        ({"max_request_bytes": "100000000"}, "must be at most 16777216"),
        ({"listen_client_urls": "ftp://h:1"}, "is not of the form http://host:port or https://host:port"),
        ({"listen_client_urls": "unix://"}, "needs the path of a socket: unix:///run/ratified.sock"),
        ({"listen_client_urls": "unix:///" + "x" * 107}, "may have at most 107 bytes"),
        ({"listen_peer_urls": "unix:///s"}, "which only clients can use"),
        ({"listen_client_urls": "https://h:1"}, "https://h:1 needs --cert-file and --key-file, or --auto-tls"),
        (
            {"listen_peer_urls": "https://h:1"},
            "https://h:1 needs --peer-cert-file and --peer-key-file, or --peer-auto-tls",
        ),
        (
            {
                "listen_peer_urls": "https://h:1",
                "peer_auto_tls": "true",
                "peer_trusted_ca_file": "c",
            },
            "of a certificate that a member has made itself no CA knows",
        ),
        (
            {
                "listen_peer_urls": "https://h:1",
                "peer_cert_file": "c",
                "peer_key_file": "k",
                "peer_trusted_ca_file": "c",
                "peer_cert_allowed_cn": "a",
                "peer_cert_allowed_hostname": "b",
            },
            "give one of --peer-cert-allowed-cn, --peer-cert-allowed-hostname, not both",
        ),
        ({"client_cert_allowed_hostname": ","}, "',' names nobody"),
        ({"trusted_ca_file": ""}, "it is empty"),
        ({"self_signed_cert_validity": "500"}, "at most 100 years"),
        ({"initial_cluster": "default=https://h:1"}, "flag --initial-cluster: https://h:1 needs --peer-cert-file"),
        ({"cert_file": "c"}, "it is for https:// URLs, and listen-client-urls has none"),
        ({"listen_client_urls": "https://h:1", "cert_file": "c"}, "--cert-file and --key-file go together"),
        (
            {"listen_client_urls": "https://h:1", "auto_tls": "true", "client_cert_auth": "true"},
            "it needs --trusted-ca-file",
        ),
        (
            {"listen_client_urls": "https://h:1", "auto_tls": "true", "cert_file": "c", "key_file": "k"},
            "--auto-tls makes a certificate, and --cert-file is one",
        ),
        ({"listen_client_urls": "h:1"}, "not of the form http://host:port"),
        ({"listen_client_urls": "http://h"}, "needs a host and a port"),
        ({"listen_client_urls": "http://h:99999"}, "Port out of range"),
        ({"listen_client_urls": "http://h:1/path"}, "must end after the port"),
        ({"listen_client_urls": ","}, "at least one URL"),
        ({"listen_client_urls": "http://h:1,http://h:1"}, "names a URL twice"),
        ({"listen_client_urls": "http://0.0.0.0:1"}, "say --advertise-client-urls too"),
        ({"listen_peer_urls": "http://0.0.0.0:1"}, "say --initial-advertise-peer-urls too"),
        ({"initial_cluster": "http://h:1"}, "not of the form name=http://host:port"),
        ({"initial_cluster": "a=http://h:1,b=http://h:1"}, "names a peer URL twice"),
        ({"initial_cluster": "a=http://h:1"}, "'default' is not among a; see --name"),
        (
            {"initial_cluster": "default=http://h:1", "initial_advertise_peer_urls": "http://h:2"},
            "gives 'default' the peer URLs http://h:1, but --initial-advertise-peer-urls says http://h:2",
        ),
        ({"initial_absent": "b,"}, "'' is no member name"),
        ({"initial_cluster_state": "old"}, "'old' is not one of: new, existing"),
        ({"name": "a=b"}, "no member name"),
        ({"engine": "etcd"}, "flag --engine: 'etcd' is not one of: raft"),
        ({"log_level": "loud"}, "not one of: debug, info, warn, error"),
        ({"log_format": "xml"}, "not one of: console, json"),
        ({"log_outputs": "stderr,,x"}, "has an output without a name"),
        ({"warning_unary_request_duration": "300"}, "no time such as 500ms, 10s"),
        ({"distributed_tracing_sampling_rate": "-1"}, "-1 is negative"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(flags: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        loaded({}, None, **flags)
    assert "\n" not in str(caught.value)


def test_an_error_names_the_place_of_the_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^variable RATIFIED_SNAPSHOT_COUNT: 'x'"):
        loaded({"RATIFIED_SNAPSHOT_COUNT": "x"})
    file = tmp_path / "r.toml"
    file.write_text("snapshot-count = 'x'")
    with pytest.raises(ConfigError, match=rf"^snapshot-count in {file}: 'x'"):
        loaded(file=file)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("data-dirr = 'x'", "unknown option 'data-dirr'; did you mean 'data-dir'"),
        ("name = [", "is not valid TOML"),
        ("name = true", "must be a string, a whole number or a list of strings"),
        ("name = []", "must be a string, a whole number or a list of strings"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "r.toml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=words) as caught:
        loaded(file=file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        loaded(file=tmp_path / "none.toml")


def test_etcds_variables_count_behind_ours_and_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('name = "file"\nheartbeat-interval = 20\n')
    config = loaded({"ETCD_NAME": "etcds", "ETCD_SNAPSHOT_COUNT": "9", "RATIFIED_SNAPSHOT_COUNT": "7"}, file)
    assert (config.name, config.heartbeat_interval_ms, config.snapshot_count) == ("etcds", 20, 7)
    assert config.warnings == (
        "variable RATIFIED_SNAPSHOT_COUNT counts, and variable ETCD_SNAPSHOT_COUNT, which says something else, does"
        " not",
    )


def test_two_variables_that_say_the_same_are_nothing_to_speak_of() -> None:
    assert loaded({"ETCD_NAME": "a", "RATIFIED_NAME": "a"}).warnings == ()


def test_an_unknown_variable_of_etcds_is_a_warning() -> None:
    warnings = loaded({"ETCD_SERVICE_HOST": "x", "ETCD_UNSUPPORTED_ARCH": "arm64", "ETCDCTL_API": "3"}).warnings
    assert len(warnings) == 1
    assert warnings[0].startswith("unknown variable ETCD_SERVICE_HOST is ignored")


def test_two_names_of_one_option_in_one_place_are_refused() -> None:
    both = {"snapshot-catchup-entries": "1", "experimental-snapshot-catchup-entries": "2"}
    with pytest.raises(ConfigError, match="are the same option: give one of them"):
        load(both, {}, None)
    assert load({"experimental-snapshot-catchup-entries": "2"}, {}, None).snapshot_catchup_entries == 2


@pytest.mark.parametrize(("text", "means"), [("1", True), ("T", True), ("FALSE", False), ("0", False)])
def test_yes_and_no_are_said_as_to_etcd(text: str, means: bool) -> None:
    assert loaded({"ETCD_QUIESCENCE": text}).quiescence is means


def test_suites_are_named_as_to_etcd() -> None:
    names = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256, TLS_RSA_WITH_AES_256_CBC_SHA"
    tls = loaded(listen_client_urls="https://h:1", auto_tls="true", cipher_suites=names).client_tls
    assert tls is not None
    assert tls.cipher_suites == ("ECDHE-RSA-AES128-GCM-SHA256", "AES256-SHA")


def test_progress_is_told_by_either_name_of_the_interval() -> None:
    assert loaded().watch_progress_s == 600
    assert loaded(watch_progress_notify_interval="500ms").watch_progress_s == 0.5
    assert load({"experimental-watch-progress-notify-interval": "1m"}, {}, None).watch_progress_s == 60


def test_a_keepalive_without_a_timeout_is_none() -> None:
    assert loaded(grpc_keepalive_timeout="0").keepalive_interval_s == 0
    assert loaded(grpc_keepalive_interval="2h", grpc_keepalive_timeout="20s").keepalive_interval_s == 7200
