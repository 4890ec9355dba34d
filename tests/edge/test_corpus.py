"""What fuzzing has found of interest goes through every time."""

from __future__ import annotations

import pytest

from tests.edge.targets import CORPUS, TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_the_corpus_makes_the_edge_fail(target: str) -> None:
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for each in inputs:
        TARGETS[target](each.read_bytes())
