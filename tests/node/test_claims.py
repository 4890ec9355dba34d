"""Where a log may be cut, by what its members have in checkpoints."""

from __future__ import annotations

from ratified.consensus.contract import Membership, Progress
from ratified.node.claims import Claims
from ratified.node.config import NodeLimits
from ratified.storage.checkpoint import Claim

ERA = (1, 0)
THREE = Membership((1, 2, 3))
LIMITS = NodeLimits(snapshot_catchup_entries=10, snapshot_patience_us=1_000)


def claimed() -> Claims:
    """1 and 2 have checkpoints at 50 and 100; 3 was at 20 when it was heard of last."""
    claims = Claims(1, Claim(50, ERA), LIMITS)
    claims.take(1, Claim(100, ERA))
    claims.take(2, Claim(100, ERA))
    claims.take(3, Claim(20, ERA))
    return claims


def test_who_is_away_holds_the_cut_for_a_while_only() -> None:
    assert claimed().cut(THREE, None) == Claim(50, ERA)


def test_who_could_be_sent_no_snapshot_holds_it_for_good() -> None:
    claims = claimed()
    claims.takes_snapshots(3, takes=False)
    assert claims.cut(THREE, None) == Claim(20, ERA)
    claims.forget(3)
    assert claims.cut(THREE, None) is None


def test_it_is_over_with_its_upgrade_or_when_it_is_no_member_any_more() -> None:
    claims = claimed()
    claims.takes_snapshots(3, takes=False)
    claims.takes_snapshots(3, takes=True)
    assert claims.cut(THREE, None) == Claim(50, ERA)
    claims = claimed()
    claims.takes_snapshots(3, takes=False)
    assert claims.cut(Membership((1, 2)), None) == Claim(100, ERA)


def test_who_is_no_member_any_more_cuts_nothing_that_it_lacks() -> None:
    """Its engine has the configuration without it, and has not applied that yet: it ended with an assertion."""
    claims = claimed()
    assert claims.cut(Membership((2, 4)), None) is None, "4 has said nothing"
    claims.take(2, Claim(120, ERA))
    claims.take(4, Claim(110, ERA))
    assert claims.cut(Membership((2, 4)), None) == Claim(100, ERA)


def follower_at(acknowledged: int) -> dict[int, Progress]:
    return {3: Progress(acknowledged, acknowledged + 1, "replicate", acknowledged)}


def test_who_was_sent_a_snapshot_holds_what_comes_next_until_it_has_all_of_the_checkpoint() -> None:
    claims = claimed()
    claims.snapshot_sent(0, 3, 60)
    assert claims.held(0, follower_at(60)) == 60
    assert claims.cut(THREE, 60) == Claim(50, ERA)
    claims.take(1, Claim(200, ERA))
    assert claims.held(900, follower_at(150)) == 150
    assert claims.cut(THREE, 150) == Claim(100, ERA)
    assert claims.held(1_800, follower_at(180)) == 180, "what it acknowledges counts as life"
    assert claims.held(1_801, follower_at(200)) is None
    assert claims.held(1_802, follower_at(150)) is None, "over is over"


def test_it_holds_nothing_for_who_is_silent_nor_where_too_much_is_kept_nor_without_the_lead() -> None:
    silent, long, deposed = claimed(), claimed(), claimed()
    for claims in (silent, long, deposed):
        claims.snapshot_sent(0, 3, 60)
    assert silent.held(999, follower_at(60)) == 60
    assert silent.held(1_000, follower_at(60)) is None
    long.holds_much = True
    assert long.held(1, follower_at(60)) is None
    assert deposed.held(1, {}) is None
