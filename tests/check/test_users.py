"""The model of users says what may be done, and rejects what is answered otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratified.check.users import (
    ROOT,
    AddRole,
    AddUser,
    Change,
    ChangePassword,
    DeleteRole,
    DeleteUser,
    Disable,
    Enable,
    Forbid,
    GrantRole,
    LetIn,
    Meaning,
    Permit,
    Put,
    RevokeRole,
    Stage,
    Users,
    Verdict,
    Who,
)
from ratified.check.violation import Violation
from ratified.consensus.contract import Kind, Ready
from ratified.consensus.entry import make_entry
from tests.check.members import Members

KEYS = (b"a", b"b")
MANAGED: Sequence[Change] = (
    AddUser(ROOT),
    GrantRole(ROOT, ROOT),
    AddUser("alice"),
    AddRole("a"),
    Permit("a", KEYS, True),
    GrantRole("alice", "a"),
    Enable(),
)


class Told:
    """The model, told of commands that are delivered one behind the other."""

    def __init__(self) -> None:
        self.users = Users(Members("raft").checks)
        self._index = 0
        for change in MANAGED:
            self.does(change)

    def does(self, meaning: Meaning, verdict: Verdict = Verdict.DONE, floor: int = 0) -> None:
        """Deliver this, and answer it so."""
        self._index += 1
        command = b"%d" % self._index
        self.users.asked(command, meaning)
        self.users.ready(1, Ready(deliver=(make_entry(self._index, (1, 0), Kind.COMMAND, None, command),)))
        self.users.answered(floor, command, verdict)

    def now(self, user: str) -> Who:
        return Who(user, self.users.stage.revision)


def stage_of(changes: Sequence[Change]) -> Stage:
    stage = Stage()
    for change in changes:
        changed = stage.changed(change)
        assert changed is not None
        stage = changed
    return stage


def test_a_stage_says_who_may_put_and_read() -> None:
    assert Stage().judge(None, b"a1", writes=True) is Verdict.DONE
    stage = stage_of((*MANAGED, Permit("a", (b"r", b"s"), False)))
    alice, root = Who("alice", stage.revision), Who(ROOT, stage.revision)
    assert stage.judge(None, b"a1", writes=True) is Verdict.NOBODY
    assert stage.judge(Who("alice", stage.revision - 1), b"a1", writes=True) is Verdict.OLD
    for key, writes, verdict in (
        (b"a", True, Verdict.DONE),
        (b"b", True, Verdict.DENIED),
        (b"r", False, Verdict.DONE),
        (b"r", True, Verdict.DENIED),
    ):
        assert stage.judge(alice, key, writes=writes) is verdict
        assert stage.judge(root, key, writes=writes) is Verdict.DONE


@pytest.mark.parametrize("change", [RevokeRole("alice", "a"), DeleteRole("a"), Forbid("a", KEYS), DeleteUser("alice")])
def test_what_was_permitted_is_taken_back(change: Change) -> None:
    stage = stage_of((*MANAGED, change))
    assert stage.judge(Who("alice", stage.revision), b"a1", writes=True) is Verdict.DENIED


@pytest.mark.parametrize(
    "change",
    [
        AddUser("alice"),
        DeleteUser("bob"),
        ChangePassword("bob"),
        GrantRole("alice", "b"),
        RevokeRole(ROOT, "a"),
        AddRole("a"),
        DeleteRole("b"),
        Permit("b", KEYS, True),
        Forbid("a", (b"a", b"c")),
    ],
)
def test_some_changes_cannot_be_made(change: Change) -> None:
    assert stage_of(MANAGED).changed(change) is None
    told = Told()
    with pytest.raises(Violation, match="is a change that cannot be made"):
        told.does(change)


def test_users_cannot_count_before_somebody_manages() -> None:
    assert Stage().changed(Enable()) is None


def test_a_put_behind_a_revoke_must_not_succeed() -> None:
    told = Told()
    told.does(Put(told.now("alice"), b"a1", b"v"))
    told.does(RevokeRole("alice", "a"))
    told.does(Put(told.now("alice"), b"a1", b"v"), Verdict.DENIED)
    with pytest.raises(Violation, match="answered as done, and is permission denied"):
        told.does(Put(told.now("alice"), b"a1", b"v"))


def test_a_put_behind_a_grant_must_not_be_denied() -> None:
    told = Told()
    with pytest.raises(Violation, match="answered as permission denied, and is done"):
        told.does(Put(told.now("alice"), b"a1", b"v"), Verdict.DENIED)


def test_what_is_answered_stands_behind_what_was_answered_before() -> None:
    told = Told()
    floor = told.users.highest
    told.does(Disable(), floor=floor)
    with pytest.raises(Violation, match="had been answered"):
        told.does(Put(None, b"a1", b"v"), floor=floor + 2)


def test_nothing_is_answered_before_it_is_delivered() -> None:
    with pytest.raises(Violation, match="before it was delivered"):
        Told().users.answered(0, b"never", Verdict.DONE)


def test_a_read_is_decided_between_its_begin_and_its_end() -> None:
    told = Told()
    before, alice = told.users.highest, told.now("alice")
    told.does(Disable())
    told.users.read(before, None, b"q", Verdict.NOBODY)
    told.users.read(before, None, b"q", Verdict.DONE)
    told.users.told(before, enabled=True, revision=alice.revision)
    with pytest.raises(Violation, match="no state between"):
        told.users.read(told.users.highest, None, b"q", Verdict.NOBODY)
    with pytest.raises(Violation, match="no such time"):
        told.users.told(told.users.highest, enabled=True, revision=alice.revision)


@pytest.mark.parametrize("change", [ChangePassword("alice"), DeleteUser("alice"), Disable()])
def test_a_token_ends(change: Change) -> None:
    told = Told()
    made_at = told.users.stage.revision
    told.does(LetIn("alice", made_at - 1, b"late"), Verdict.OLD)
    told.does(LetIn("alice", made_at, b"t"))
    told.does(AddRole("b"))
    told.does(change)
    ended_at = told.users.stage.revision
    told.users.held(b"t", "alice", made_at)
    told.users.held(b"t", "alice", ended_at - 1)
    for token, user, revision in (
        (b"t", "alice", ended_at),
        (b"t", "alice", made_at - 1),
        (b"t", ROOT, made_at),
        (b"late", "alice", made_at),
    ):
        with pytest.raises(Violation, match="token"):
            told.users.held(token, user, revision)


@pytest.mark.parametrize("user", ["alice", None])
def test_a_watch_is_sent_nothing_that_was_put_since_it_may_not_read(user: str | None) -> None:
    told = Told()
    told.does(Disable())
    told.does(Put(None, b"a1", b"before"))
    told.does(Enable())
    told.does(RevokeRole("alice", "a"))
    told.does(Put(told.now(ROOT), b"a1", b"since"))
    told.users.sent(user, b"a1", b"before")
    told.users.sent(ROOT, b"a1", b"since")
    with pytest.raises(Violation, match="a watch of"):
        told.users.sent(user, b"a1", b"since")
