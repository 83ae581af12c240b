"""The compiled descriptions of the services, which reflection hands out. Pure but for one read."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from fleetfit_runtime.serve.grpc.wire import message, read_fields, text

DESCRIPTOR_FILE: Final = "descriptors.binpb"
_MOST_FIELDS: Final = 4096
# Field numbers of FileDescriptorProto: lists of things that have a name, and in turn lists of such things.
_MESSAGE, _ENUM, _SERVICE = 4, 5, 6
_NESTED: Final = {_MESSAGE: {3: _MESSAGE, 4: _ENUM}, _ENUM: {}, _SERVICE: {2: 0}, 0: {}}


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Compiled .proto files.

    Args:
        by_file: each file's FileDescriptorProto by its name.
        file_of: the name of the file that declares a symbol, by the symbol's full name.
        services: full names of the services.
    """

    by_file: dict[str, bytes]
    file_of: dict[str, str]
    services: tuple[str, ...]


def load_descriptors() -> Descriptors:
    """Read the descriptors that are part of this package."""
    return read_descriptors((files(__package__) / DESCRIPTOR_FILE).read_bytes())


def read_descriptors(file_set: bytes) -> Descriptors:
    """Return what a FileDescriptorSet holds.

    Raises:
        WireError: it is none.
    """
    by_file: dict[str, bytes] = {}
    file_of: dict[str, str] = {}
    services: list[str] = []
    for entry in read_fields(memoryview(file_set), _MOST_FIELDS):
        data = message(entry)
        fields = list(read_fields(data, _MOST_FIELDS))
        name = next(text(each) for each in fields if each[0] == 1)
        package = next((text(each) for each in fields if each[0] == 2), "")
        by_file[name] = bytes(data)
        for each in fields:
            if each[0] in (_MESSAGE, _ENUM, _SERVICE):
                symbols = _symbols(package, each[0], message(each))
                file_of.update(dict.fromkeys(symbols, name))
                if each[0] == _SERVICE:
                    services.append(symbols[0])
    return Descriptors(by_file, file_of, tuple(services))


def _symbols(scope: str, kind: int, data: memoryview) -> list[str]:
    fields = list(read_fields(data, _MOST_FIELDS))
    name = next(text(each) for each in fields if each[0] == 1)
    full = f"{scope}.{name}" if scope else name
    found = [full]
    for each in fields:
        nested = _NESTED[kind].get(each[0])
        if nested is not None:
            found += _symbols(full, nested, message(each))
    return found
