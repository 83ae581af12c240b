"""Compiles the runtime's small C library beside the module that loads it, with whatever C compiler is there.

The build of wheels and editable installs comes here by itself (a build hook of Hatchling); run as a program it does the
same by hand. Without a compiler the package is built without the library and the runtime does without it.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ROOM: Final = Path(__file__).parent
SOURCE: Final = _ROOM / "native" / "float_text.c"
LIBRARY: Final = _ROOM / "fleetfit_runtime" / "serve" / "float_text.so"
FLAGS: Final = ("-std=c11", "-O3", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wconversion")


def compile_library(source: Path = SOURCE, library: Path = LIBRARY) -> bool:
    """Compile the library; return False where that cannot be done, having said why on standard error."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        sys.stderr.write(
            f"no C compiler ({compiler[0]}): the runtime will read large JSON texts by simdjson alone\n"
        )
        return False
    # Put in place as a whole: a runtime that is starting may load it at this moment.
    unfinished = library.with_suffix(f".{os.getpid()}")
    result = subprocess.run(  # noqa: S603 - the compiler that the user names
        [*compiler, *FLAGS, "-o", str(unfinished), str(source)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        unfinished.unlink(missing_ok=True)
        sys.stderr.write(f"{source.name} was not compiled, and the runtime does without it:\n{result.stderr}")
        return False
    unfinished.replace(library)
    return True


class NativeBuildHook(BuildHookInterface[Any]):
    """Puts the library into a wheel, which then is one for this kind of machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Compile before the files are gathered."""
        if not compile_library():
            LIBRARY.unlink(missing_ok=True)  # One of another source would be taken along.
            return
        build_data["artifacts"].append(f"/{LIBRARY.relative_to(_ROOM.parent)}")
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"


if __name__ == "__main__":
    raise SystemExit(0 if compile_library() else 1)
