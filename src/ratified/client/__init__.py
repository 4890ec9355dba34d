"""The Python client of Ratified, and of any etcd v3 server: sync (``Client``) and asyncio (``AsyncClient``).

Rules of this package:

1. A call ends in one of three ways, and the exception's class says which: its result; ``CallRefused`` or
   ``Unavailable`` (nothing of it has happened or will happen); ``CallOutcomeUnknown`` (it may have happened, or may
   happen yet).
2. With several endpoints a call goes on to the next one only where that is safe: always for reads, for writes only
   when it is known that nothing happened.
3. Keys and values are bytes; text is taken too and encoded as UTF-8.
4. It knows etcd's protocol only, nothing of a server's inside.
5. A call is made once (``calls``), and what is built on calls is a plan (``recipes``); the two faces carry both out.

Example::

    from ratified.client import Client

    with Client(["127.0.0.1:2379"]) as client:
        client.put("greeting", "hello")
        print(client.get("greeting").value)
"""

from ratified.client.aio import AsyncClient, AsyncWatch
from ratified.client.calls import (
    Compare,
    Do,
    When,
    compare_create,
    compare_lease,
    compare_mod,
    compare_value,
    compare_version,
)
from ratified.client.errors import (
    AuthenticationFailed,
    AuthNotEnabled,
    CallOutcomeUnknown,
    CallRefused,
    ClientClosed,
    ClientError,
    Compacted,
    Conflict,
    DuplicateKey,
    FutureRevision,
    KeyNotFound,
    LeaseExists,
    LeaseLost,
    LeaseNotFound,
    MemberNotFound,
    NoSpace,
    PermissionDenied,
    RequestTooLarge,
    TokenRefused,
    Unavailable,
)
from ratified.client.recipes.awaiting import (
    AsyncBarrier,
    AsyncElection,
    AsyncKeptLease,
    AsyncLock,
    AsyncQueue,
    AsyncTransaction,
)
from ratified.client.recipes.blocking import Barrier, Election, KeptLease, Lock, Queue, Transaction
from ratified.client.recipes.turns import Place
from ratified.client.results import (
    Alarm,
    AuthStatus,
    Deleted,
    Event,
    KeyValue,
    KvHash,
    Lease,
    LeaseLeft,
    Member,
    MemberStatus,
    Permission,
    Put,
    Range,
    Swap,
    Txn,
)
from ratified.client.sync import Client, Watch
from ratified.client.tls import Tls
from ratified.client.users import AsyncAuth, Auth

__all__ = [
    "Alarm",
    "AsyncAuth",
    "AsyncBarrier",
    "AsyncClient",
    "AsyncElection",
    "AsyncKeptLease",
    "AsyncLock",
    "AsyncQueue",
    "AsyncTransaction",
    "AsyncWatch",
    "Auth",
    "AuthNotEnabled",
    "AuthStatus",
    "AuthenticationFailed",
    "Barrier",
    "CallOutcomeUnknown",
    "CallRefused",
    "Client",
    "ClientClosed",
    "ClientError",
    "Compacted",
    "Compare",
    "Conflict",
    "Deleted",
    "Do",
    "DuplicateKey",
    "Election",
    "Event",
    "FutureRevision",
    "KeptLease",
    "KeyNotFound",
    "KeyValue",
    "KvHash",
    "Lease",
    "LeaseExists",
    "LeaseLeft",
    "LeaseLost",
    "LeaseNotFound",
    "Lock",
    "Member",
    "MemberNotFound",
    "MemberStatus",
    "NoSpace",
    "Permission",
    "PermissionDenied",
    "Place",
    "Put",
    "Queue",
    "Range",
    "RequestTooLarge",
    "Swap",
    "Tls",
    "TokenRefused",
    "Transaction",
    "Txn",
    "Unavailable",
    "Watch",
    "When",
    "compare_create",
    "compare_lease",
    "compare_mod",
    "compare_value",
    "compare_version",
]
