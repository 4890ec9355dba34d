"""What programs build on the calls: locks, elections, queues, barriers, software transactional memory.

Rules of this package:

1. What a recipe does is a *plan*: a generator that yields steps (a call, or to wait for a change) and is sent their
   results. A plan knows no transport; ``blocking`` and ``awaiting`` are the two faces that carry plans out.
2. Who holds a lock or leads does so by a key under its lease: ``name/`` and the lease's id in hex, the layout of etcd's
   own clients, so that etcdctl and others queue up with ours. The oldest key by revision is it.
3. A write is marked repeatable only where one that arrives late, after all that followed it, does no harm: the key of
   a lease that has ended meanwhile, the deletion of a key of one create revision.
4. Who waits watches one key, the one before its own, from the revision at which it looked: nothing is missed between.
"""
