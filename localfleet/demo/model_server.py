"""A plain file server for model files on a loopback address, in place of the object store of a real fleet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web


@asynccontextmanager
async def serve_directory(directory: Path, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve the files of a directory while the context lasts; yields the base URL. Port 0 takes a free one."""
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
