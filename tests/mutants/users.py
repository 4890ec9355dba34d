"""Users, broken: who may do what is decided by something else than the commands before."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.kv.auth import Auth
from ratified.kv.digest import Sums
from ratified.kv.identity import SERVER, Identity
from ratified.kv.tokens import Tokens
from ratified.wire.etcd.auth_pb2 import User
from tests.mutants.mutant import Mutant


def who_was_known_before_is_admitted() -> AbstractContextManager[Any]:
    """The auth revision at which it was found out counts for nothing."""

    def _admit(auth: Auth, who: Identity | None) -> User | None:
        return admit(auth, who if who is None or who == SERVER else who._replace(revision=auth.revision))

    admit = Auth.admit
    return patch.object(Auth, "admit", _admit)


def permissions_are_kept_over_changes() -> AbstractContextManager[Any]:
    """Until this member starts again: others decide otherwise."""

    def _changed(auth: Auth, sums: Sums) -> None:
        auth.revision += 1
        auth._write_state(sums)

    return patch.object(Auth, "_changed", _changed)


def tokens_outlive_passwords() -> AbstractContextManager[Any]:
    return patch.object(Tokens, "end_of", lambda tokens, user: None)


def snapshots_bring_no_users() -> AbstractContextManager[Any]:
    """Until this member starts again it has those of before."""

    def _replace_by(auth: Auth, other: Auth) -> None:
        auth._space = other._space

    return patch.object(Auth, "replace_by", _replace_by)


def users_begin_to_count_for_no_watch() -> AbstractContextManager[Any]:
    """The auth revision, which says nothing of that, is all that watches look at."""
    return patch.object(Auth, "stage", property(lambda auth: auth.revision))


MUTANTS = [
    Mutant("admits who was known before a change", who_was_known_before_is_admitted, "users", "session", 2),
    Mutant("keeps permissions over changes", permissions_are_kept_over_changes, "users", "session", 2),
    Mutant("keeps tokens of an ended password", tokens_outlive_passwords, "users", "session", 2),
    Mutant("takes no users with a snapshot", snapshots_bring_no_users, "users", "session", 1),
    Mutant("tells no watch that users count", users_begin_to_count_for_no_watch, "users", "session", 6),
]
