"""Users, roles and permissions in the store; ``tests/conformance/test_auth.py`` holds what they say against etcd."""

from __future__ import annotations

import base64
import hashlib

import msgspec
import pytest
from google.protobuf.message import Message

from ratified.kv import commands, queries
from ratified.kv.commands import AuthKind
from ratified.kv.encoding import response
from ratified.kv.errors import EtcdError
from ratified.kv.identity import HEADER_BYTES_MAX, NAME_BYTES_MAX, SERVER, Identity
from ratified.kv.intervals import Interval
from ratified.kv.limits import KvLimits
from ratified.kv.permissions import Permissions
from ratified.kv.tokens import TOKENS_MAX, Holder, Password, Tokens
from ratified.wire.etcd import errors
from ratified.wire.etcd import rpc_pb2 as rpc
from ratified.wire.etcd.auth_pb2 import Permission, UserAddOptions
from tests.kv.driver import PLENTY, Driver, Watch

TTL_US = 1000
HASHED = base64.b64encode(b"a hash").decode()


class Managed(Driver):
    """A store with the users root and alice, who may read and write the keys that begin with ``a``."""

    def __init__(self) -> None:
        super().__init__(limits=KvLimits(token_ttl_us=TTL_US))
        self.changes(AuthKind.USER_ADD, rpc.AuthUserAddRequest(name="root", hashedPassword=HASHED))
        self.changes(AuthKind.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user="root", role="root"))
        self.changes(AuthKind.USER_ADD, rpc.AuthUserAddRequest(name="alice", hashedPassword=HASHED))
        self.changes(AuthKind.ROLE_ADD, rpc.AuthRoleAddRequest(name="a"))
        self.permit(Permission.READWRITE, b"a", b"b")
        self.changes(AuthKind.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user="alice", role="a"))

    @property
    def revision(self) -> int:
        status = rpc.AuthStatusResponse.FromString(response(self.answer(queries.auth_status())))
        return int(status.authRevision)

    def permit(self, kind: Permission.Type.ValueType, key: bytes, range_end: bytes = b"") -> None:
        permission = Permission(permType=kind, key=key, range_end=range_end)
        self.changes(AuthKind.ROLE_GRANT_PERMISSION, rpc.AuthRoleGrantPermissionRequest(name="a", perm=permission))

    def enable(self) -> None:
        self.changes(AuthKind.ENABLE, rpc.AuthEnableRequest())

    def changes(self, kind: AuthKind, request: Message) -> None:
        """As root, or as nobody while users do not count."""
        command = commands.asked_by(SERVER, commands.auth(kind, request.SerializeToString()))
        response(self.apply([command])[0])

    def now(self, user: str) -> Identity:
        return Identity(user, self.revision)

    def asks(self, who: Identity | None, command: bytes) -> bytes:
        """The response; raises etcd's error."""
        return response(self.apply([command if who is None else commands.asked_by(who, command)])[0])

    def reads(self, who: Identity | None, key: bytes, range_end: bytes = b"") -> list[bytes]:
        query = queries.range_(rpc.RangeRequest(key=key, range_end=range_end).SerializeToString())
        answer = self.answer(query if who is None else queries.asked_by(who, query))
        return [pair.key for pair in rpc.RangeResponse.FromString(response(answer)).kvs]

    def watches_as(self, who: Identity | None, key: bytes, range_end: bytes = b"") -> Watch:
        query = queries.watch(1, rpc.WatchCreateRequest(key=key, range_end=range_end).SerializeToString())
        continuation = self.store.read(0, query if who is None else queries.asked_by(who, query))
        assert not isinstance(continuation, bytes)
        self.watches.append(Watch(continuation))
        return self.watches[-1]

    def holder(self, token: bytes, now: int = 0) -> Holder:
        answer = self.store.read(now, queries.token(hashlib.sha256(token).digest()))
        assert isinstance(answer, bytes)
        return msgspec.msgpack.decode(response(answer), type=Holder)


def put(key: bytes, lease: int = 0) -> bytes:
    return commands.put(rpc.PutRequest(key=key, value=b"v", lease=lease).SerializeToString())


def refused(error: errors.Error) -> pytest.RaisesExc[EtcdError]:
    return pytest.raises(EtcdError, match=error.text)


def test_before_users_count_anybody_does_anything() -> None:
    driver = Managed()
    assert driver.put(b"z") == 2
    assert driver.reads(Identity("nobody", 1), b"z") == [b"z"]


def test_nobody_puts_in_the_batch_in_which_users_begin_to_count() -> None:
    """Plain puts are applied together, and are read by hand: one behind the change must not slip through."""
    driver = Managed()
    enable = commands.asked_by(SERVER, commands.auth(AuthKind.ENABLE, b""))
    together = [commands.puts([put(key), put(key + b"0")]) for key in (b"a5", b"a6")]
    answers = driver.apply([put(b"a1"), together[0], put(b"z1"), enable, put(b"a2"), together[1], put(b"z2")])
    assert [answer[0] for answer in answers] == [0, 0, 0, 0, 1, 1, 1]
    assert driver.reads(driver.now("root"), b"\0", b"\0") == [b"a1", b"a5", b"a50", b"z1"]
    with refused(errors.USER_EMPTY):
        driver.reads(None, b"a1")
    gets = queries.gets([queries.range_(rpc.RangeRequest(key=key).SerializeToString()) for key in (b"a1", b"z1")])
    with refused(errors.USER_EMPTY):
        response(driver.answer(gets))


def test_whoever_was_found_out_before_a_change_is_found_out_again() -> None:
    driver = Managed()
    driver.enable()
    alice = driver.now("alice")
    driver.asks(alice, put(b"a1"))
    driver.permit(Permission.READ, b"q")
    with refused(errors.AUTH_OLD_REVISION):
        driver.asks(alice, put(b"a1"))
    with refused(errors.AUTH_OLD_REVISION):
        driver.reads(alice, b"a1")
    driver.asks(driver.now("alice"), put(b"a1"))
    driver.changes(AuthKind.USER_DELETE, rpc.AuthUserDeleteRequest(name="alice"))
    with refused(errors.PERMISSION_DENIED):
        driver.asks(driver.now("alice"), put(b"a1"))


def test_a_refused_command_changes_nothing() -> None:
    driver = Managed()
    driver.enable()
    before = driver.store.digest(), driver.store.revision
    for who, command in ((None, put(b"a1")), (driver.now("alice"), put(b"z1")), (Identity("alice", 1), put(b"a1"))):
        with pytest.raises(EtcdError):
            driver.asks(who, command)
    with refused(errors.PERMISSION_DENIED):
        driver.asks(driver.now("alice"), commands.auth(AuthKind.DISABLE, b""))
    assert (driver.store.digest(), driver.store.revision) == before


def test_a_restart_and_another_replica_have_the_same_users() -> None:
    driver = Managed()
    driver.put(b"z1")
    driver.enable()
    digest = driver.store.digest()
    driver.reopen()
    other = Driver()
    other.load_state(driver.read_state(bytes_max=7), driver.index)
    for each in (driver, other):
        assert each.store.digest() == digest
        refusing = queries.asked_by(
            driver.now("alice"), queries.range_(rpc.RangeRequest(key=b"z1").SerializeToString())
        )
        with refused(errors.PERMISSION_DENIED):
            response(each.answer(refusing))
    assert driver.state == other.state


def test_a_snapshot_brings_other_permissions() -> None:
    """What a user was permitted is remembered until something changes, and here everything does."""
    behind, driver = Managed(), Managed()
    for each in (behind, driver):
        each.enable()
    behind.asks(behind.now("alice"), put(b"a1"))
    driver.changes(AuthKind.USER_REVOKE_ROLE, rpc.AuthUserRevokeRoleRequest(name="alice", role="a"))
    behind.load_state(driver.read_state(), driver.index)
    with refused(errors.PERMISSION_DENIED):
        behind.asks(behind.now("alice"), put(b"a1"))


def test_whoever_was_found_out_before_users_counted_no_more_is_found_out_again() -> None:
    driver = Managed()
    driver.enable()
    alice = driver.now("alice")
    driver.changes(AuthKind.DISABLE, rpc.AuthDisableRequest())
    driver.enable()
    with refused(errors.AUTH_OLD_REVISION):
        driver.asks(alice, put(b"a1"))


def test_the_digest_says_which_users_there_are() -> None:
    one, other = Managed(), Managed()
    assert one.store.digest() == other.store.digest()
    other.permit(Permission.READ, b"q")
    assert one.store.digest() != other.store.digest()


def test_a_watch_ends_when_its_user_may_not_read_any_more() -> None:
    driver = Managed()
    driver.enable()
    alice = driver.now("alice")
    watch, roots = driver.watches_as(alice, b"a", b"b"), driver.watches_as(driver.now("root"), b"\0", b"\0")
    driver.asks(alice, put(b"a1"))
    driver.turn()
    driver.changes(AuthKind.USER_REVOKE_ROLE, rpc.AuthUserRevokeRoleRequest(name="alice", role="a"))
    driver.asks(driver.now("root"), put(b"a2"))
    driver.turn()
    assert [key for _, key, _ in watch.events] == [b"a1"]
    assert watch.finished
    assert watch.responses[-1].cancel_reason == errors.PERMISSION_DENIED.text
    assert [key for _, key, _ in roots.events] == [b"a1", b"a2"]


def test_a_watch_of_nobodys_ends_when_users_begin_to_count() -> None:
    driver = Managed()
    watch = driver.watches_as(None, b"a", b"b")
    driver.turn()
    driver.enable()
    driver.asks(driver.now("alice"), put(b"a1"))
    driver.turn()
    assert (watch.events, watch.finished) == ([], True)


def test_a_watch_ends_with_its_user_whoever_is_called_so_later() -> None:
    driver = Managed()
    driver.enable()
    watch, roots = driver.watches_as(driver.now("alice"), b"a", b"b"), driver.watches_as(driver.now("root"), b"a1")
    driver.turn()
    driver.changes(AuthKind.USER_DELETE, rpc.AuthUserDeleteRequest(name="alice"))
    driver.changes(AuthKind.USER_ADD, rpc.AuthUserAddRequest(name="alice", hashedPassword=HASHED))
    driver.changes(AuthKind.USER_GRANT_ROLE, rpc.AuthUserGrantRoleRequest(user="alice", role="a"))
    driver.asks(driver.now("alice"), put(b"a1"))
    driver.turn()
    assert (watch.events, watch.finished) == ([], True)
    assert [key for _, key, _ in roots.events] == [b"a1"]


def test_a_watch_that_is_not_permitted_never_begins() -> None:
    """A permission for one key admits to nothing behind it (GHSA-xg4h-6gfc-h4m8)."""
    driver = Managed()
    driver.enable()
    for key, range_end in ((b"z", b""), (b"a1", b"\0"), (b"a", b"c"), (b"", b"\0")):
        watch = driver.watches_as(driver.now("alice"), key, range_end)
        driver.turn()
        assert [(each.created, each.canceled) for each in watch.responses] == [(True, True)]


def test_nested_puts_are_held_against_their_leases_too() -> None:
    driver = Managed()
    driver.grant(7, 100)
    driver.asks(None, put(b"z", lease=7))
    driver.enable()
    attaching = rpc.RequestOp(request_put=rpc.PutRequest(key=b"a1", lease=7))
    nested = rpc.RequestOp(request_txn=rpc.TxnRequest(failure=[attaching]))
    with refused(errors.PERMISSION_DENIED):
        driver.asks(driver.now("alice"), commands.txn(rpc.TxnRequest(success=[nested]).SerializeToString()))


def test_who_may_read_all_may_neither_compact_nor_take_the_state() -> None:
    driver = Managed()
    driver.permit(Permission.READ, b"\0", b"\0")
    driver.enable()
    alice = driver.now("alice")
    assert driver.reads(alice, b"\0", b"\0") == []
    driver.asks(alice, put(b"a1"))
    with refused(errors.PERMISSION_DENIED):
        driver.asks(alice, commands.compact(rpc.CompactionRequest(revision=2).SerializeToString()))
    with refused(errors.PERMISSION_DENIED):
        response(driver.answer(queries.asked_by(alice, queries.state())))
    driver.permit(Permission.READWRITE, b"\0", b"\0")
    driver.asks(driver.now("alice"), commands.compact(rpc.CompactionRequest(revision=2).SerializeToString()))


@pytest.mark.parametrize("branch", ["success", "failure"])
def test_a_transaction_that_only_reads_is_held_against_both_branches(branch: str) -> None:
    driver = Managed()
    driver.enable()
    reading = rpc.TxnRequest()
    getattr(reading, branch).append(rpc.RequestOp(request_range=rpc.RangeRequest(key=b"z")))
    query = queries.asked_by(driver.now("alice"), queries.txn(reading.SerializeToString()))
    with refused(errors.PERMISSION_DENIED):
        response(driver.answer(query))


def test_a_long_lease_is_looked_at_in_pieces() -> None:
    driver = Managed()
    driver.grant(7, 100)
    for number in range(300):
        driver.put(b"a%d" % number, lease=7)
    driver.put(b"z", lease=7)
    driver.enable()
    alice = driver.now("alice")
    for command in (put(b"a", lease=7), commands.lease_revoke(rpc.LeaseRevokeRequest(ID=7).SerializeToString())):
        named = commands.asked_by(alice, command)
        assert driver.store.cost(named, PLENTY) > 300
        pieces = 0

        def count() -> None:
            nonlocal pieces
            pieces += 1

        with refused(errors.PERMISSION_DENIED):
            response(driver.apply_in_pieces(named, 50, count))
        assert pieces > 3


def test_a_password_is_looked_at_with_the_revision_of_its_user() -> None:
    driver = Managed()
    answer = msgspec.msgpack.decode(response(driver.answer(queries.password("alice"))), type=Password)
    assert answer == Password(False, driver.revision, b"a hash")
    assert not msgspec.msgpack.decode(response(driver.answer(queries.password("nobody"))), type=Password).hashed


def test_who_is_to_have_no_password_is_nobody_by_the_one_that_is_given_later() -> None:
    """As in etcd, which keeps none of it: such a user is known by a certificate alone."""
    driver = Managed()
    options = UserAddOptions(no_password=True)
    driver.changes(AuthKind.USER_ADD, rpc.AuthUserAddRequest(name="certified", options=options))
    changed = rpc.AuthUserChangePasswordRequest(name="certified", hashedPassword=HASHED)
    driver.changes(AuthKind.USER_CHANGE_PASSWORD, changed)
    assert not msgspec.msgpack.decode(response(driver.answer(queries.password("certified"))), type=Password).hashed


def token_of(user: str, token: bytes, revision: int) -> bytes:
    return commands.authenticate(user, hashlib.sha256(token).digest(), revision)


def test_a_token_ends_with_its_users_password_and_with_its_user() -> None:
    driver = Managed()
    driver.enable()
    for change in (
        (AuthKind.USER_CHANGE_PASSWORD, rpc.AuthUserChangePasswordRequest(name="alice", hashedPassword=HASHED)),
        (AuthKind.USER_DELETE, rpc.AuthUserDeleteRequest(name="alice")),
    ):
        response(driver.apply([token_of("alice", b"t", driver.revision)])[0])
        response(driver.apply([token_of("root", b"r", driver.revision)])[0])
        assert driver.holder(b"t") == Holder(True, "alice", driver.revision)
        driver.changes(*change)
        assert driver.holder(b"t").user == ""
        assert driver.holder(b"r").user == "root"


def test_all_tokens_end_where_users_count_no_more_and_where_a_snapshot_comes() -> None:
    """A snapshot says nothing of passwords that were changed meanwhile."""
    driver = Managed()
    driver.enable()
    response(driver.apply([token_of("alice", b"t", driver.revision)])[0])
    state = Managed()
    state.enable()
    driver.load_state(state.read_state(), driver.index + 1)
    assert driver.holder(b"t").user == ""
    response(driver.apply([token_of("alice", b"t", driver.revision)])[0])
    driver.changes(AuthKind.DISABLE, rpc.AuthDisableRequest())
    driver.enable()
    assert driver.holder(b"t").user == ""


def test_a_password_that_was_looked_at_before_a_change_gives_no_token() -> None:
    driver = Managed()
    with refused(errors.AUTH_NOT_ENABLED):
        response(driver.apply([token_of("alice", b"t", driver.revision)])[0])
    driver.enable()
    with refused(errors.AUTH_OLD_REVISION):
        response(driver.apply([token_of("alice", b"t", driver.revision - 1)])[0])


def test_a_token_ends_when_it_is_not_used_for_so_long() -> None:
    driver = Managed()
    driver.enable()
    response(driver.apply([token_of("alice", b"t", driver.revision)])[0])
    driver.store.woken(100)
    assert driver.holder(b"t", 100 + TTL_US).user == "alice"
    assert driver.holder(b"t", 100 + 2 * TTL_US).user == "alice"
    assert driver.holder(b"t", 101 + 3 * TTL_US).user == ""


def test_tokens_are_bounded() -> None:
    tokens = Tokens(TTL_US)
    for number in range(TOKENS_MAX + 1):
        tokens.add(b"%d" % number, "alice")
    assert len(tokens) == TOKENS_MAX
    assert (tokens.user(0, b"0"), tokens.user(0, b"1")) == ("", "alice")
    tokens.add(b"more", "alice")
    assert (tokens.user(0, b"1"), tokens.user(0, b"2")) == ("alice", "")


def test_a_token_that_is_used_keeps_no_other_alive() -> None:
    tokens = Tokens(TTL_US)
    for token in (b"used", b"not used"):
        tokens.add(token, "alice")
    tokens.note_time(0)
    assert tokens.user(TTL_US, b"used") == "alice"
    tokens.note_time(TTL_US + 1)
    assert len(tokens) == 1


@pytest.mark.parametrize(
    ("keys", "is_permitted"),
    [
        (Interval(b"a", b"c"), True),
        (Interval(b"a", b"c\0"), False),
        (Interval(b"b", b"b\0"), True),
        (Interval(b"d", b"d\0"), False),
        (Interval(b"e", b"e\0"), True),
        (Interval(b"e", None), False),
        (Interval(b"x", None), True),
        (Interval(b"a", None), False),
        (Interval(b"", b"a"), False),
    ],
)
def test_permissions_that_touch_each_other_are_one(keys: Interval, is_permitted: bool) -> None:
    given = [
        Permission(permType=Permission.READ, key=b"b", range_end=b"c"),
        Permission(permType=Permission.READWRITE, key=b"a", range_end=b"b"),
        Permission(permType=Permission.READ, key=b"e"),
        Permission(permType=Permission.READ, key=b"x", range_end=b"\0"),
    ]
    permissions = Permissions(given)
    assert permissions.reads(keys) is is_permitted
    assert permissions.writes(keys) is False or keys == Interval(b"a", b"b")


def test_a_header_that_is_none_is_said_to_be() -> None:
    longest = Identity("n" * NAME_BYTES_MAX, 7)
    assert len(longest.encode()) == HEADER_BYTES_MAX
    assert commands.split(commands.asked_by(longest, put(b"a")))[1] == longest
    for wrong in (bytes([commands.CommandKind.PUT, 3, 0, 0, 0]), bytes([commands.CommandKind.PUT, 200]) + bytes(50)):
        with pytest.raises(ValueError, match="no identity"):
            commands.split(wrong)
