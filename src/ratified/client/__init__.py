"""The Python client of Ratified, and of any etcd v3 server: sync (``Client``) and asyncio (``AsyncClient``).

Rules of this package:

1. A call ends in one of three ways, and the exception's class says which: its result; ``CallRefused`` or
   ``Unavailable`` (nothing of it has happened or will happen); ``CallOutcomeUnknown`` (it may have happened, or may
   happen yet).
2. With several endpoints a call goes on to the next one only where that is safe: always for reads, for writes only
   when it is known that nothing happened.
3. Keys and values are bytes; text is taken too and encoded as UTF-8.
4. It knows etcd's protocol only, nothing of a server's inside.

Example::

    from ratified.client import Client

    with Client(["127.0.0.1:2379"]) as client:
        client.put("greeting", "hello")
        print(client.get("greeting").value)
"""

from ratified.client.aio import AsyncClient, AsyncWatch
from ratified.client.calls import Compare, Do, compare_create, compare_mod, compare_value, compare_version
from ratified.client.errors import CallOutcomeUnknown, CallRefused, ClientError, Compacted, Unavailable
from ratified.client.results import (
    Deleted,
    Event,
    KeyValue,
    Lease,
    LeaseLeft,
    Member,
    MemberStatus,
    Put,
    Range,
    Txn,
)
from ratified.client.sync import Client, Watch
from ratified.client.tls import Tls

__all__ = [
    "AsyncClient",
    "AsyncWatch",
    "CallOutcomeUnknown",
    "CallRefused",
    "Client",
    "ClientError",
    "Compacted",
    "Compare",
    "Deleted",
    "Do",
    "Event",
    "KeyValue",
    "Lease",
    "LeaseLeft",
    "Member",
    "MemberStatus",
    "Put",
    "Range",
    "Tls",
    "Txn",
    "Unavailable",
    "Watch",
    "compare_create",
    "compare_mod",
    "compare_value",
    "compare_version",
]
