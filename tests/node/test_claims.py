"""Where a log may be cut, by what its members have in checkpoints."""

from __future__ import annotations

from ratified.consensus.contract import Membership, Progress, Status
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


def status(commit: int, acknowledged: int | None, *, leads: bool = True, membership: Membership = THREE) -> Status:
    """Of 1, which leads, and as which 3 has acknowledged so much; None: it has no link to 3."""
    progress = {} if acknowledged is None else {3: Progress(acknowledged, acknowledged + 1, "replicate", acknowledged)}
    return Status(
        member=1,
        role="leader" if leads else "follower",
        era=ERA,
        raft_term=1,
        leader=1 if leads else 2,
        serving=leads,
        base=0,
        last=commit,
        durable=commit,
        commit=commit,
        applied=commit,
        membership=membership,
        settled=True,
        rests=False,
        progress=progress,
        words={},
    )


def test_who_was_sent_a_snapshot_holds_what_comes_next_until_it_lacks_little() -> None:
    claims = claimed()
    assert claims.held(0, status(130, 20), 60) == 60
    claims.snapshot_sent(0, 3, 60)
    assert claims.held(0, status(130, 60), None) == 60
    assert claims.cut(THREE, 60) == Claim(50, ERA)
    claims.take(1, Claim(200, ERA))
    assert claims.held(900, status(220, 150), None) == 150
    assert claims.held(901, status(220, 150), 120) == 120, "another one is sent a snapshot"
    assert claims.cut(THREE, 150) == Claim(100, ERA)
    assert claims.held(1_800, status(230, 205), None) == 205, "it has the own checkpoint, and not what the next one has"
    assert claims.held(2_700, status(230, None), None) == 205, "a session that broke is a member that is silent"
    assert claims.held(2_701, status(240, 230), None) is None
    assert claims.held(2_702, status(300, 230), None) is None, "over is over"


def test_it_holds_nothing_for_who_is_silent_or_has_left_nor_where_too_much_is_kept_nor_without_the_lead() -> None:
    silent, gone, long, deposed = claimed(), claimed(), claimed(), claimed()
    for claims in (silent, gone, long, deposed):
        claims.snapshot_sent(0, 3, 60)
    assert silent.held(999, status(130, 60), None) == 60
    assert silent.held(1_000, status(130, 60), None) is None
    assert gone.held(1, status(130, None, membership=Membership((1, 2))), None) is None
    long.holds_much = True
    assert long.held(1, status(130, 60), 70) == 70
    assert deposed.held(1, status(130, None, leads=False), 50) == 50
    assert deposed.held(2, status(130, 60), None) is None
