"""Who may put what, and when: a model of users, roles and tokens, fed with the commands of one group as they are
delivered.

Rules
1. A command is decided by what the commands delivered before it have made of users and roles, and by nothing else: its
   answer is the model's. So no put of a user succeeds behind a revoke that was answered, and none is refused behind a
   grant that was.
2. What is answered stands in the log behind all that was answered before it was asked for.
3. A token says one user's name, from when it was made until its user's password is changed, its user is deleted or
   users do not count any more; and whoever is told so is told an auth revision at which it was so.
4. A linearizable read is decided by a state between those at which it was asked for and answered.
5. Whoever watches is sent a put only where it may read its key in the state that the put has made, or a later one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from ratified.check.group import GroupChecks
from ratified.check.violation import Violation
from ratified.consensus.contract import Kind, Ready

FIRST_REVISION = 1
ROOT = "root"
Keys: TypeAlias = tuple[bytes, bytes]
"""From the first on, and up to the second."""


class Verdict(StrEnum):
    """What a command or a read is answered."""

    DONE = "done"
    REFUSED = "a change that cannot be made"
    NOBODY = "nobody asks"
    OLD = "who asks is known from before a change"
    DENIED = "permission denied"


class Who(msgspec.Struct, frozen=True):
    user: str
    revision: int
    """The auth revision at which it was found out."""


class Put(msgspec.Struct, frozen=True):
    who: Who | None
    key: bytes
    value: bytes
    """No other put has it."""


class LetIn(msgspec.Struct, frozen=True):
    """The user has said the password that counts at this auth revision, and gets this token."""

    user: str
    revision: int
    token: bytes


class Enable(msgspec.Struct, frozen=True):
    pass


class Disable(msgspec.Struct, frozen=True):
    pass


class AddUser(msgspec.Struct, frozen=True):
    user: str


class DeleteUser(msgspec.Struct, frozen=True):
    user: str


class ChangePassword(msgspec.Struct, frozen=True):
    user: str


class GrantRole(msgspec.Struct, frozen=True):
    user: str
    role: str


class RevokeRole(msgspec.Struct, frozen=True):
    user: str
    role: str


class AddRole(msgspec.Struct, frozen=True):
    role: str


class DeleteRole(msgspec.Struct, frozen=True):
    role: str


class Permit(msgspec.Struct, frozen=True):
    """To read these keys, and perhaps to write them."""

    role: str
    keys: Keys
    writes: bool


class Forbid(msgspec.Struct, frozen=True):
    role: str
    keys: Keys


Change: TypeAlias = (
    Enable
    | Disable
    | AddUser
    | DeleteUser
    | ChangePassword
    | GrantRole
    | RevokeRole
    | AddRole
    | DeleteRole
    | Permit
    | Forbid
)
Meaning: TypeAlias = Change | Put | LetIn


class Stage(msgspec.Struct, frozen=True):
    """Users and roles between two changes."""

    enabled: bool = False
    revision: int = FIRST_REVISION
    users: Mapping[str, frozenset[str]] = {}
    """Their roles; only asked for membership."""
    roles: Mapping[str, Mapping[Keys, bool]] = {}
    """What they permit: to read, and (True) to write."""

    def judge(self, who: Who | None, key: bytes, *, writes: bool) -> Verdict:
        """May this one?"""
        if not self.enabled:
            return Verdict.DONE
        if who is None:
            return Verdict.NOBODY
        if who.revision < self.revision:
            return Verdict.OLD
        roles = self.users.get(who.user, frozenset())
        permitted = ROOT in roles or any(
            first <= key < end and (may_write or not writes)
            for role, permissions in self.roles.items()
            if role in roles
            for (first, end), may_write in permissions.items()
        )
        return Verdict.DONE if permitted else Verdict.DENIED

    def changed(self, change: Change) -> Stage | None:
        """Itself: nothing is changed by it; None: it cannot be made."""
        users, roles = dict(self.users), {role: dict(permitted) for role, permitted in self.roles.items()}
        match change:
            case Enable():
                if not self.enabled and ROOT not in users.get(ROOT, ()):
                    return None
                return msgspec.structs.replace(self, enabled=True)
            case Disable():
                if not self.enabled:
                    return self
                return msgspec.structs.replace(self, enabled=False, revision=self.revision + 1)
            case AddUser(user) if user not in users:
                users[user] = frozenset()
            case DeleteUser(user) if user in users:
                del users[user]
            case ChangePassword(user) if user in users:
                pass
            case GrantRole(user, role) if user in users and (role in roles or role == ROOT):
                if role in users[user]:
                    return self
                users[user] |= {role}
            case RevokeRole(user, role) if role in users.get(user, ()):
                users[user] -= {role}
            case AddRole(role) if role not in roles:
                roles[role] = {}
            case DeleteRole(role) if role in roles:
                del roles[role]
                users = {user: of - {role} for user, of in users.items()}
            case Permit(role, keys, writes) if role in roles:
                roles[role][keys] = writes
            case Forbid(role, keys) if keys in roles.get(role, ()):
                del roles[role][keys]
            case _:
                return None
        return Stage(self.enabled, self.revision + 1, users, roles)


class Token(msgspec.Struct):
    user: str
    made_at: int
    """The auth revision."""
    ended_at: int | None = None
    """The first auth revision at which it was nobody's, perhaps."""


class Users:
    """What one group's answers to users are held against."""

    def __init__(self, group: GroupChecks[Any]) -> None:
        self.highest = 0
        """The highest index of a command that was answered."""
        self._group = group
        self._judged = 0
        self._meanings: dict[bytes, Meaning] = {}
        """Of commands that were asked for and not delivered."""
        self._verdicts: dict[bytes, tuple[int, Verdict]] = {}
        """Of those that were delivered and not answered, and their indexes."""
        self._stages: list[tuple[int, Stage]] = [(0, Stage())]
        """Each with the index of the command that made it."""
        self._tokens: dict[bytes, Token] = {}
        self._put_at: dict[bytes, int] = {}
        """By value, the index of its put."""
        group.listeners.ready.append(self.ready)

    @property
    def stage(self) -> Stage:
        """The latest one that was delivered anywhere."""
        return self._stages[-1][1]

    def asked(self, command: bytes, meaning: Meaning) -> int:
        """Somebody asks for this command; what its answer must stand behind."""
        self._meanings[command] = meaning
        return self.highest

    def ready(self, member: int, ready: Ready) -> None:
        for entry in ready.deliver:
            if entry.index > self._judged:
                self._judged = entry.index
                if entry.kind is Kind.COMMAND and (meaning := self._meanings.pop(entry.data, None)) is not None:
                    self._verdicts[entry.data] = entry.index, self._delivered(entry.index, meaning)

    def _delivered(self, index: int, meaning: Meaning) -> Verdict:
        stage = self.stage
        match meaning:
            case Put(who, key, value):
                self._put_at[value] = index
                return stage.judge(who, key, writes=True)
            case LetIn(user, revision, token):
                if not stage.enabled:
                    return Verdict.REFUSED
                if revision != stage.revision:
                    return Verdict.OLD
                self._tokens[token] = Token(user, revision)
                return Verdict.DONE
        changed = stage.changed(meaning)
        if changed is None:
            return Verdict.REFUSED
        if changed is not stage:
            self._stages.append((index, changed))
            self._end_tokens(meaning, changed.revision)
        return Verdict.DONE

    def _end_tokens(self, change: Change, revision: int) -> None:
        for token in self._tokens.values():
            ends = isinstance(change, Disable) or (
                isinstance(change, DeleteUser | ChangePassword) and change.user == token.user
            )
            if ends and token.ended_at is None:
                token.ended_at = revision

    def answered(self, floor: int, command: bytes, verdict: Verdict) -> None:
        """A command was answered so, that was asked for when ``floor`` was the highest index."""
        found = self._verdicts.pop(command, None)
        if found is None:
            raise self._broken("a command was answered before it was delivered anywhere")
        index, right = found
        if index <= floor:
            raise self._broken(f"a command at {index} was asked for when the one at {floor} had been answered")
        if verdict is not right:
            raise self._broken(f"the command at {index} was answered as {verdict}, and is {right}")
        self.highest = max(self.highest, index)
        self._group.counters[f"users: {verdict}"] += 1

    def read(self, floor: int, who: Who | None, key: bytes, verdict: Verdict) -> None:
        """A linearizable read of this key was answered so."""
        stages = self._since(floor)
        if all(stage.judge(who, key, writes=False) is not verdict for stage in stages):
            raise self._broken(f"{who} was answered as {verdict} when reading {key!r}, which no state between says")
        self._group.counters[f"users: read {verdict}"] += 1

    def told(self, floor: int, *, enabled: bool, revision: int) -> None:
        """A linearizable read said whether users count, at which auth revision."""
        if all((stage.enabled, stage.revision) != (enabled, revision) for stage in self._since(floor)):
            raise self._broken(f"somebody was told of auth revision {revision}, enabled: {enabled}, at no such time")

    def held(self, token: bytes, user: str, revision: int) -> None:
        """Any read said that this token is this user's at this auth revision."""
        known = self._tokens.get(token)
        if known is None or known.user != user or revision < known.made_at:
            raise self._broken(f"a token that was made as {known} is {user!r}'s at auth revision {revision}")
        if known.ended_at is not None and revision >= known.ended_at:
            raise self._broken(f"a token of {user!r} that ended at {known.ended_at} is known at {revision}")

    def sent(self, user: str | None, key: bytes, value: bytes) -> None:
        """A watch of this user's, or nobody's, was sent a put of this value."""
        who = None if user is None else Who(user, self.stage.revision)
        stages = self._since(self._put_at[value])
        if all(stage.judge(who, key, writes=False) is not Verdict.DONE for stage in stages):
            raise self._broken(f"a watch of {user} was sent the put of {key!r} at {self._put_at[value]}")
        self._group.counters["users: events"] += 1

    def _since(self, floor: int) -> list[Stage]:
        """All from the one that was there at this index."""
        first = max(place for place, (index, _) in enumerate(self._stages) if index <= floor)
        return [stage for _, stage in self._stages[first:]]

    def _broken(self, seen: str) -> Violation:
        return self._group.violation("users", seen)
