"""The descriptor pool that holds etcd's messages, apart from protobuf's default pool."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClassesForFiles

POOL = DescriptorPool()


def _fill() -> None:
    descriptors = FileDescriptorSet.FromString(files(__package__).joinpath("descriptors.binpb").read_bytes())
    for file in descriptors.file:
        POOL.AddSerializedFile(file.SerializeToString())


_fill()


def members(name: str) -> Iterator[tuple[str, Any]]:
    """What a generated module of the file ``name`` has at its top level: messages, enums and their values."""
    path = f"ratified/wire/etcd/{name}"
    file = POOL.FindFileByName(path)
    yield "DESCRIPTOR", file
    messages = GetMessageClassesForFiles([path], POOL)
    for message in file.message_types_by_name:
        yield message, messages[f"{file.package}.{message}"]
    for enum, descriptor in file.enum_types_by_name.items():
        yield enum, EnumTypeWrapper(descriptor)
        for value in descriptor.values:
            yield value.name, value.number
