"""The operations of a transaction, for the benchmarks beside this file."""

from __future__ import annotations

from ratified.wire.etcd.rpc_pb2 import PutRequest, RangeRequest, RequestOp, TxnRequest


def ops(*requests: RangeRequest | PutRequest | TxnRequest) -> list[RequestOp]:
    out = []
    for request in requests:
        match request:
            case RangeRequest():
                out.append(RequestOp(request_range=request))
            case PutRequest():
                out.append(RequestOp(request_put=request))
            case TxnRequest():
                out.append(RequestOp(request_txn=request))
    return out
