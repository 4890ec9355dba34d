"""Where a log may be cut, by what its members have in checkpoints."""

from __future__ import annotations

from ratified.consensus.contract import Membership
from ratified.node.checkpoints import Claims
from ratified.storage.checkpoint import Claim

ERA = (1, 0)
THREE = Membership((1, 2, 3))


def claimed() -> Claims:
    """1 and 2 have checkpoints at 50 and 100; 3 was at 20 when it was heard of last."""
    claims = Claims(1, Claim(50, ERA), catchup_entries=10)
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
