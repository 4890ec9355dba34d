"""What stands on the pages of health while an alarm does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.api.pages import page
from ratified.wire.etcd.rpc_pb2 import CORRUPT, AlarmRequest
from tests.api.conftest import Act, Api

DIFFERS = "[-]data_corruption failed: alarm activated: CORRUPT\n"
READS = "[+]serializable_read ok\n[+]linearizable_read ok\n"


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/readyz", 503, f"{DIFFERS}{READS}\n"),
        ("/readyz?verbose", 503, f"{DIFFERS}{READS}\n"),
        ("/readyz?exclude=data_corruption", 200, "ok\n"),
        ("/readyz?verbose&exclude=data_corruption", 200, f"[+]data_corruption excluded: ok\n{READS}ok\n"),
        ("/readyz/data_corruption?exclude=data_corruption", 503, f"{DIFFERS}\n"),
        ("/readyz/serializable_read", 200, "ok\n"),
        ("/livez", 200, "ok\n"),
    ],
)
def test_checks_say_what_has_failed(with_api: Callable[[Act], None], target: str, status: int, body: str) -> None:
    async def act(api: Api) -> None:
        request = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=1, alarm=CORRUPT)
        await api.call("/etcdserverpb.Maintenance/Alarm", request.SerializeToString())
        found = await page(api.service, "GET", target)
        assert (found.status, found.body.decode()) == (status, body)

    with_api(act)
