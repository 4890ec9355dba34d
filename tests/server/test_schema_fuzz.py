"""A short run of the fuzzer by schema; ``make fuzz`` has a long one."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from ratified.server.calls import FAILED
from tests.server.schema_fuzz import Input, Report, fuzz
from tests.server.test_process import Place

INPUTS = 1000


def test_whatever_is_asked_a_node_answers_with_a_cause_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Place(tmp_path).serving("--bcrypt-cost=4") as node:
        report = fuzz(node, 1, INPUTS)
    assert not report.failures
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "INTERNAL"} <= {*report.codes}
    assert f"{INPUTS} inputs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "code", "text", "fails"),
    [
        ("/etcdserverpb.KV/Put", "UNKNOWN", FAILED, True),
        ("/etcdserverpb.KV/Put", "UNAVAILABLE", "Socket closed", True),
        ("/etcdserverpb.KV/Put", "DEADLINE_EXCEEDED", "no answer", True),
        ("/etcdserverpb.Watch/Watch", "DEADLINE_EXCEEDED", "no answer", False),
        ("/v3electionpb.Election/Leader", "UNKNOWN", "election: no leader", False),
        ("/etcdserverpb.KV/Put", "OK", "", False),
    ],
)
def test_the_fuzzer_knows_an_error_without_a_cause(method: str, code: str, text: str, fails: bool) -> None:
    report = Report()
    report.add(Input(method, method, (b"",), (), False), grpc.StatusCode[code].value[0], text)
    assert bool(report.failures) is fails
