"""What the checks of progress reject: a quorum that stands still, and a leader that changes without a cause."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ratified.check.progress import DISTURBED_TIMEOUTS, PROGRESS_TIMEOUTS, SETTLE_TIMEOUTS, Progress, Sample
from ratified.check.violation import Violation

TIMEOUT_US = 100
STANDING = Sample(now=0, quorum=(1, 2), delivered=5, idle=False, elections=1, disturbed=False, trouble=0)


def judge(samples: list[Sample], message_us: int = 0) -> None:
    progress = Progress(0, TIMEOUT_US, message_us)
    for at, sample in enumerate(samples):
        progress.sampled(replace(sample, now=at * TIMEOUT_US))


def test_a_quorum_that_delivers_nothing_is_rejected() -> None:
    judge([STANDING] * (PROGRESS_TIMEOUTS + 1))
    with pytest.raises(Violation, match="progress"):
        judge([STANDING] * (PROGRESS_TIMEOUTS + 2))


@pytest.mark.parametrize(
    "sign", [{"delivered": 6}, {"idle": True}, {"quorum": (1, 3)}, {"quorum": None}], ids=lambda sign: next(iter(sign))
)
def test_a_sign_of_progress_and_another_quorum_begin_a_new_wait(sign: dict[str, object]) -> None:
    half = [STANDING] * (PROGRESS_TIMEOUTS // 2 + 1)
    then = replace(STANDING, **sign)
    judge([*half, then, *[replace(STANDING, delivered=then.delivered)] * (PROGRESS_TIMEOUTS // 2 + 1)])


def test_while_messages_are_lost_it_may_take_longer() -> None:
    judge([replace(STANDING, disturbed=True)] * (DISTURBED_TIMEOUTS + 1))
    with pytest.raises(Violation, match="progress"):
        judge([replace(STANDING, disturbed=True)] * (DISTURBED_TIMEOUTS + 2))


def test_over_a_slow_link_it_may_take_what_the_longest_message_takes() -> None:
    judge([STANDING] * (PROGRESS_TIMEOUTS + 4), message_us=3 * TIMEOUT_US)
    with pytest.raises(Violation, match="progress"):
        judge([STANDING] * (PROGRESS_TIMEOUTS + 5), message_us=3 * TIMEOUT_US)


def test_without_a_quorum_nobody_need_get_on() -> None:
    judge([replace(STANDING, quorum=None)] * (2 * PROGRESS_TIMEOUTS))


def test_a_leader_that_changes_without_a_fault_is_rejected() -> None:
    quiet = [replace(STANDING, idle=True)] * (SETTLE_TIMEOUTS + 1)
    judge([*quiet[:-1], replace(STANDING, idle=True, elections=2)])
    judge([*quiet, replace(STANDING, idle=True, elections=2, trouble=1)])
    with pytest.raises(Violation, match="a lead without a fault stays"):
        judge([*quiet, replace(STANDING, idle=True, elections=2)])
