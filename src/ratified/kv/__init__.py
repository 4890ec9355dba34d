"""The store that users talk to: etcd's MVCC key-value model as a replicated ``Store``.

Rules of this package:

1. The state after index i is a function of the commands up to i. Applying looks at no clock, draws nothing, iterates
   over no set; what had to be chosen (a lease's id, its least time to live) the proposer chose.
2. One revision a command that changes keys, none for one that does not; its changes are numbered by *sub-revisions*.
   A command fails as a whole, before it has written anything.
3. Everything decided here is sans-IO: rows go through ``storage.space``, time is handed in, watches and long ranges
   are continuations that the node advances.
4. Semantics, error texts and gRPC codes are those of etcd 3.5.

The files, from the bottom: ``errors`` and ``encoding`` (answers as bytes), ``names`` (row keys), ``digest`` (the sums),
``tombstones`` and ``history`` (what is visible, and what was), ``mvcc`` (rows and revisions), ``ranges``
(RangeRequest), ``writes`` (Put, DeleteRange, Txn), ``burials`` (long deletes), ``intervals`` and ``watch``, ``leases``
and ``lessor``, ``requests`` (what is wrong with a request by itself), ``commands`` and ``queries`` (what is proposed,
and what is asked), ``hashes``, ``snapshot``, ``store`` (all of it, behind ``machine.Store``).
"""
