"""The runtime as a process: `python -m fleetfit_runtime`. Its settings come from the environment; see `settings.py`."""

import argparse
import asyncio
import gc
import os
import random
import sys
from collections.abc import Sequence
from typing import Final

import fleetfit_runtime
from fleetfit_runtime.settings import Settings, SettingsError, read_settings

_OBJECTS_BETWEEN_COLLECTIONS: Final = 10_000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleetfit-runtime",
        description="Serves the models that Fleetfit assigns to this node, over the Open Inference Protocol V2.",
        epilog="Settings come from the environment. Required: NODE_NAME. Usual: POD_IP, FLEETFIT_HTTP_PORT (8080), "
        "FLEETFIT_GRPC_PORT (8001), FLEETFIT_STORE_DIR (/var/lib/fleetfit), FLEETFIT_PROVIDERS (CPUExecutionProvider), "
        "FLEETFIT_INTRA_OP_THREADS (from the processor quota), FLEETFIT_LOG_LEVEL (INFO).",
    )
    parser.add_argument(
        "--version", action="version", version=f"fleetfit-runtime {fleetfit_runtime.__version__}"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the runtime until it is told to stop; return the exit status."""
    _parser().parse_args(arguments)
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"fleetfit-runtime: {error}\n")
        return 2
    # These take most of a second on a small board; --help and a wrong setting should not wait for them.
    import uvloop

    from fleetfit_runtime.telemetry.json_log import configure_log

    configure_log(settings.log_level, {"node": settings.node_name, "pod": settings.pod_name})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings))
    except OSError as error:
        sys.stderr.write(f"fleetfit-runtime: {error}\n")
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    # Imports make a hundred thousand objects and no garbage; to look for some takes a tenth of their time.
    gc.disable()
    from fleetfit_runtime.app import RuntimeApp
    from fleetfit_runtime.probe.process_memory import keep_free_memory

    keep_free_memory()
    app = RuntimeApp(settings, os.environ, random.Random())  # noqa: S311 - jitter, not a secret
    # What stays for ever is not looked through again while requests wait.
    gc.freeze()
    # Requests leave no cycles behind, so that garbage is rare; to look for it every 700 objects finds none.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    gc.enable()
    await app.run()


if __name__ == "__main__":
    raise SystemExit(main())
