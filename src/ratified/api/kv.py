"""KV: Range, Put, DeleteRange, Txn, Compact.

What is wrong with a request by itself is found before it is proposed; a transaction that writes nothing is a read, and
never enters the log. What may make the store grow is held against the quota.
"""

from __future__ import annotations

from ratified.api.submission import Submission
from ratified.kv import commands, queries, requests
from ratified.kv.plain import plain_get, plain_put
from ratified.runtime import Work
from ratified.wire.etcd.rpc_pb2 import CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest


def range_(request: RangeRequest, data: bytes) -> Submission:
    """Linearizable, or with ``serializable`` from this member's own state."""
    requests.check_range(request)
    return Submission(Work.READ_LOCAL if request.serializable else Work.READ, queries.range_(data))


def range_undecoded(data: bytes) -> Submission | None:
    """As ``range_``, for most gets of one key; None: it is another request, or a wrong one."""
    key = plain_get(data)
    if key is None:
        return None
    is_serializable = len(data) > len(key) + 2
    return Submission(Work.READ_LOCAL if is_serializable else Work.READ, queries.range_(data), is_plain=True)


def put_undecoded(data: bytes) -> Submission | None:
    """As ``put``, for most puts; None: it is another one, or a wrong one."""
    command = commands.put(data)
    return None if plain_put(command) is None else Submission(Work.PROPOSE, command, grows=True, is_plain=True)


def put(request: PutRequest, data: bytes) -> Submission:
    requests.check_put(request)
    return Submission(Work.PROPOSE, commands.put(data), grows=True, answers_much=request.prev_kv)


def delete_range(request: DeleteRangeRequest, data: bytes) -> Submission:
    requests.check_delete_range(request)
    return Submission(Work.PROPOSE, commands.delete_range(data), answers_much=request.prev_kv)


def txn(request: TxnRequest, data: bytes, ops_max: int = requests.TXN_OPS_MAX) -> Submission:
    requests.check_txn(request, ops_max)
    if requests.is_read_only(request):
        return Submission(Work.READ_LOCAL if requests.is_serializable(request) else Work.READ, queries.txn(data))
    answers_much = requests.answers_much(request)
    return Submission(Work.PROPOSE, commands.txn(data), grows=requests.has_put(request), answers_much=answers_much)


def compact(request: CompactionRequest, data: bytes) -> Submission:
    return Submission(Work.PROPOSE, commands.compact(data))
