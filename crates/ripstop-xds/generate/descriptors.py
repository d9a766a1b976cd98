"""Write the descriptors of Envoy's API that Ripstop speaks to a file: `python descriptors.py OUT`.

They come from the installed `xds-protos`, so Python and Rust read the same API. The closure is that of `ripstop.xds.pb`.
Options are left out (they are annotations for other generators), and so are files that hold nothing else.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from ripstop.xds import pb

ANNOTATIONS = ("envoy/annotations/", "udpa/", "validate/", "xds/annotations/", "google/api/annotations", "google/api/http")
NOT_READ = ("envoy/service/status/", "envoy/admin/")
HEALTH_CHECK = "envoy/config/core/v3/health_check.proto"


def closure() -> dict[str, FileDescriptorProto]:
    found: dict[str, FileDescriptorProto] = {}

    def visit(descriptor: object) -> None:
        if descriptor.name in found or descriptor.name.startswith(ANNOTATIONS):
            return
        found[descriptor.name] = None
        for dependency in descriptor.dependencies:
            visit(dependency)
        made = FileDescriptorProto()
        descriptor.CopyToProto(made)
        found[descriptor.name] = made

    for module in pb._MODULES:
        if not module.replace(".", "/").startswith(NOT_READ):
            visit(import_module(module + "_pb2").DESCRIPTOR)
    return found


def without_options(message: object) -> None:
    for field in list(message.field):
        deprecated_map = field.options.packed
        field.ClearField("options")
        if deprecated_map:
            field.options.packed = True
    for nested in message.nested_type:
        is_map = nested.options.map_entry
        without_options(nested)
        nested.ClearField("options")
        if is_map:
            nested.options.map_entry = True
    for enum in message.enum_type:
        enum.ClearField("options")
        for value in enum.value:
            value.ClearField("options")
    for oneof in message.oneof_decl:
        oneof.ClearField("options")


def newer(files: dict[str, FileDescriptorProto]) -> None:
    """Fields that Envoy 1.40 reads and the released xds-protos does not have yet."""
    check = next(m for m in files[HEALTH_CHECK].message_type if m.name == "HealthCheck")
    if all(field.name != "name" for field in check.field):
        kind, label = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.LABEL_OPTIONAL
        check.field.add(name="name", number=27, type=kind, label=label, json_name="name")


def main() -> None:
    files = closure()
    newer(files)
    made = FileDescriptorSet()
    for file in files.values():
        kept = [d for d in file.dependency if not d.startswith(ANNOTATIONS)]
        del file.dependency[:]
        file.dependency.extend(kept)
        del file.public_dependency[:]
        file.ClearField("options")
        for message in file.message_type:
            without_options(message)
        for enum in file.enum_type:
            enum.ClearField("options")
            for value in enum.value:
                value.ClearField("options")
        del file.extension[:]
        del file.service[:]
        made.file.append(file)
    Path(sys.argv[1]).write_bytes(made.SerializeToString(deterministic=True))
    print(len(made.file), "files")


main()
