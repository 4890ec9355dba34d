"""The stories in ``scripts/``: commands, a line of dashes, what happened. ``pytest --rewrite`` writes what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratified.consensus.engines import ENGINES
from tests.consensus.stories.story import Story

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*/*.txt"))


def played(script: str) -> str:
    """The script with the output that its commands give."""
    story = Story()
    blocks = []
    for block in script.strip().split("\n\n"):
        lines = block.split("\n----")[0].split("\n")
        output = [line for command in lines if not command.startswith("#") for line in story.play(command)]
        blocks.append("\n".join([*lines, *(["----", *output] if output else [])]))
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_story_goes_as_written(file: Path, request: pytest.FixtureRequest) -> None:
    script = file.read_text()
    output = played(script)
    if request.config.getoption("--rewrite"):
        file.write_text(output)
    else:
        assert output == script


def test_every_engine_has_stories() -> None:
    assert {file.parent.name for file in SCRIPTS} == set(ENGINES)
