"""A plain file server for model files, in place of the object store of a real fleet.

Runs as a pod, so that it lives as long as the fleet, or within a test. `python -m localfleet.demo.model_server`.
"""

import argparse
import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from localfleet.node_config import UNLIMITED_ANNOTATION

IMAGE: Final = "localfleet/model-server"
POD_NAME: Final = "model-server"
PORT: Final = 8765


@asynccontextmanager
async def serve_directory(directory: Path, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve the files of a directory while the context lasts; yield the base URL. Port 0 takes a free one."""
    app = web.Application()
    app.router.add_static("/", directory)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
        bound_port = runner.addresses[0][1]
        yield f"http://{host}:{bound_port}"
    finally:
        await runner.cleanup()


def model_server_pod(directory: Path, node: str) -> dict[str, Any]:
    """Return the pod that serves a directory of this machine on a node."""
    pod_ip = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {
        "name": "server",
        "image": IMAGE,
        "args": ["--directory", str(directory), "--port", str(PORT)],
        "env": [pod_ip],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD_NAME, "annotations": {UNLIMITED_ANNOTATION: "true"}},
        "spec": {"nodeName": node, "automountServiceAccountToken": False, "containers": [container]},
    }


async def _serve_until_stopped(directory: Path, host: str, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve_directory(directory, host, port):
        await stopped.wait()


def main() -> None:
    """Serve a directory on POD_IP until a signal."""
    parser = argparse.ArgumentParser(prog="model-server", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="directory whose files are served")
    parser.add_argument("--port", type=int, default=PORT, help=f"port (default: {PORT})")
    arguments = parser.parse_args()
    asyncio.run(
        _serve_until_stopped(arguments.directory, os.environ.get("POD_IP", "127.0.0.1"), arguments.port)
    )


if __name__ == "__main__":
    main()
