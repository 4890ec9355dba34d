"""etcd v3's messages, with the packages, services, names and field numbers of etcd 3.5.

Rules:

1. The ``.proto`` are the source. ``descriptors.binpb`` (a ``FileDescriptorSet``) and the ``.pyi``
   stubs are generated from them and committed, so that nobody needs protoc to install or run.
2. The messages live in a descriptor pool of their own (``pool.POOL``). protobuf's default pool has one entry for each
   full name in a process, and ``etcdserverpb.RangeRequest`` is one that any etcd client brings too.
3. Regenerate after a change of a ``.proto``, from the root of the repository, in the environment that has the
   development dependencies (``protoc-gen-mypy`` must be on the PATH)::

       python -m grpc_tools.protoc -I src \\
           --descriptor_set_out=src/ratified/wire/etcd/descriptors.binpb --mypy_out=quiet:src \\
           src/ratified/wire/etcd/{auth,kv,rpc,lock,election,health}.proto

   A test holds the committed files equal to what protoc makes of the ``.proto`` text.

Use it as ``from ratified.wire.etcd import kv_pb2, rpc_pb2``.
"""
