"""How full the table of open requests is: what a server looks at before it makes anything of another one."""

from __future__ import annotations

import pytest

from ratified.node.config import NodeLimits
from ratified.node.ports import Request, Work
from ratified.node.requests import Requests
from ratified.node.timers import Timers


@pytest.mark.parametrize(
    ("limits", "fit"),
    [
        pytest.param(NodeLimits(open_requests_max=20), 18, id="by their number"),
        pytest.param(NodeLimits(open_bytes_max=100), 9, id="by their bytes"),
    ],
)
def test_it_is_crowded_from_nine_tenths_on_and_while_they_are_open(limits: NodeLimits, fit: int) -> None:
    requests = Requests(limits, Timers())
    for token in range(fit):
        assert not requests.is_crowded
        assert requests.admit(Request(token, 0, Work.PROPOSE, bytes(10), 1_000_000)) is not None
    assert requests.is_crowded
    requests.cancel(0)
    assert not requests.is_crowded
