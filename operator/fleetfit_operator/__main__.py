"""The operator's process: `python -m fleetfit_operator`."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from fleetfit_kube import Connection, discover
from fleetfit_kube.config import ConfigError
from pydantic_core import PydanticUndefined

from fleetfit_operator import __version__
from fleetfit_operator.settings import Settings, SettingsError, variable_name

logger = logging.getLogger("fleetfit_operator")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator until SIGTERM or SIGINT; return the exit status.

    0 after a signal, 1 when the process ended by itself (the Lease was lost, say), 2 when it cannot be started.
    """
    _parser().parse_args(arguments)
    # Imported late: --help need not wait for LightGBM and kopf.
    from fleetfit_operator.telemetry.logs import configure_logging

    try:
        settings = Settings.from_env(os.environ)
        connection = discover(os.environ)
    except (SettingsError, ConfigError) as error:
        sys.stderr.write(f"fleetfit-operator: {error}\n")
        return 2
    configure_logging(settings.log_level)
    return asyncio.run(_run_until_signal(os.environ, connection))


async def _run_until_signal(env: Mapping[str, str], connection: Connection) -> int:
    # LightGBM imports scikit-learn where it is installed, for wrappers that are not used here; that takes seconds.
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]  # None makes an import fail, as documented
    from fleetfit_operator.app import run_operator

    task = asyncio.ensure_future(run_operator(env, connection))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    except Exception as error:  # the process's edge: say why it ends
        logger.error("the operator ends", extra={"error": str(error), "kind": type(error).__name__})
        return 1
    logger.info("stopped")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleetfit-operator",
        description="Runs the best variant of a model on every node of a fleet. Settings come from the environment; "
        "the API server from the pod's service account, else from KUBECONFIG.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="environment:\n" + "\n".join(_setting_lines()),
    )
    parser.add_argument("--version", action="version", version=f"fleetfit-operator {__version__}")
    return parser


def _setting_lines() -> list[str]:
    lines = []
    for name, setting in Settings.model_fields.items():
        default = "" if setting.default is PydanticUndefined else f" (default {setting.default})"
        lines.append(f"  {variable_name(name):32} {setting.description}{default}")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
