"""``docs/serving.md`` says every option as it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from ratified.api.errors import refused
from ratified.runtime import Reason, RequestRefused
from ratified.server.config import load
from ratified.server.etcd_flags import ETCD_FLAGS
from ratified.server.options import OPTIONS
from ratified.server.sources import variable_of

DOCS = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()


def test_every_option_has_its_line_with_variable_and_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*)$", DOCS, flags=re.MULTILINE))
    assert set(rows) == {option.name for option in OPTIONS}
    for option in OPTIONS:
        assert f"`{variable_of(option.name)}`" in rows[option.name]
        assert not option.default or f"`{option.default}`" in rows[option.name]


def test_the_file_in_the_docs_is_valid(tmp_path: Path) -> None:
    text = re.search(r"^A file:\n\n((?:    .*\n)+)", DOCS, flags=re.MULTILINE)
    assert text is not None
    file = tmp_path / "ratified.toml"
    file.write_text(re.sub(r"^    ", "", text.group(1), flags=re.MULTILINE))
    assert load({}, {}, file).name == tomllib.loads(file.read_text())["name"]


def test_every_refusal_is_explained() -> None:
    for reason in (
        Reason.NO_LEADER,
        Reason.TIMED_OUT,
        Reason.OVERLOADED,
        Reason.TOO_LARGE,
        Reason.STOPPING,
        Reason.NO_SPACE,
    ):
        assert f"`{refused(RequestRefused(reason)).text}`" in DOCS


def test_every_flag_of_etcd_that_is_no_option_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs" / "etcd.md").read_text()
    rows = [re.split(r" *\| *", line.strip("| ")) for line in page.splitlines() if line.startswith("| `")]
    said = {name: cells[-1] for cells in rows for name in re.findall(r"`([a-z0-9-]+)`", cells[0])}
    assert {flag.name: flag.reason for flag in ETCD_FLAGS}.items() <= said.items()
