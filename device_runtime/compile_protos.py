"""Compiles the .proto files of the runtime into the descriptors that reflection hands out; `--check` only compares."""

import sys
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

_ROOM = Path(__file__).parent / "fleetfit_runtime" / "serve" / "grpc"
_COMMITTED = _ROOM / "descriptors.binpb"


def compiled() -> bytes:
    """Return the FileDescriptorSet of all .proto files.

    Raises:
        RuntimeError: the compiler refuses one; it says why on standard error.
    """
    protos = _ROOM / "protos"
    names = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "descriptors.binpb"
        includes = [f"--proto_path={protos}", f"--proto_path={files('grpc_tools') / '_proto'}"]
        if protoc.main(["protoc", *includes, f"--descriptor_set_out={result}", *names]):
            raise RuntimeError("the .proto files cannot be compiled")
        return result.read_bytes()


def main(arguments: Sequence[str]) -> int:
    """Write the descriptors, or compare them; return the exit status."""
    descriptors = compiled()
    if "--check" not in arguments:
        _COMMITTED.write_bytes(descriptors)
        return 0
    if _COMMITTED.read_bytes() == descriptors:
        return 0
    sys.stderr.write(f"{_COMMITTED} is stale; run `python device_runtime/compile_protos.py`\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
