"""The kubelet's own API, as far as a process node has it: health and container logs, so that `kubectl logs` works.

Only the API server may ask: callers need a client certificate of the fleet's CA with the API server's name on it.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from localfleet.node.log_files import ContainerLogs, tail_offset

# The name that the control plane's API server has as a client of kubelets; node certificates must not do.
API_SERVER_COMMON_NAME: Final = "kube-apiserver-kubelet-client"
_CHUNK_BYTES: Final = 64 * 1024
_FOLLOW_INTERVAL_S: Final = 0.2


@dataclass(frozen=True)
class LogSource:
    """Logs of a container and whether it still runs.

    Attributes:
        logs: Its log files.
        running: Tells whether it runs or will run again.
    """

    logs: ContainerLogs
    running: Callable[[], bool]


FindLogs = Callable[[str, str, str], LogSource | None]


class KubeletServer:
    """Serves logs over TLS on the node's address.

    Args:
        address: Address and port to listen at.
        tls: Certificates.
        find_logs: Returns the logs of (namespace, pod, container), None where there is no such container.
    """

    def __init__(self, address: tuple[str, int], tls: ssl.SSLContext, find_logs: FindLogs) -> None:
        self._address = address
        self._tls = tls
        self._find_logs = find_logs
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Listen; does nothing when it does already.

        Raises:
            OSError: the address is taken.
        """
        if self._runner is not None:
            return
        app = web.Application(middlewares=[_only_api_server])
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._container_logs)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        host, port = self._address
        await web.TCPSite(runner, host, port, ssl_context=self._tls).start()
        self._runner = runner

    async def close(self) -> None:
        """Stop listening and end every answer."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _container_logs(self, request: web.Request) -> web.StreamResponse:
        names = request.match_info
        source = self._find_logs(names["namespace"], names["pod"], names["container"])
        if source is None:
            raise web.HTTPNotFound(
                text=f"container {names['container']} of pod {names['pod']} is not on this node\n"
            )
        options = request.query
        for option in ("sinceSeconds", "sinceTime"):
            if option in options:
                raise web.HTTPBadRequest(
                    text=f"a process node's log lines carry no time, so {option} cannot be met\n"
                )
        if options.get("timestamps") == "true":
            raise web.HTTPBadRequest(text="a process node's log lines carry no time to show\n")
        previous = options.get("previous") == "true"
        path = source.logs.previous() if previous else source.logs.current()
        if path is None:
            which = "previous terminated container" if previous else "container"
            raise web.HTTPBadRequest(
                text=f"{which} {names['container']!r} in pod {names['pod']!r} not found\n"
            )
        return await self._send(
            request, path, source, follow=options.get("follow") == "true" and not previous
        )

    async def _send(
        self, request: web.Request, path: Path, source: LogSource, *, follow: bool
    ) -> web.StreamResponse:
        tail, limit = request.query.get("tailLines"), request.query.get("limitBytes")
        position = tail_offset(path, int(tail)) if tail is not None else 0
        left_bytes = int(limit) if limit is not None else None
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(request)
        with path.open("rb") as log:
            log.seek(position)
            while left_bytes is None or left_bytes > 0:
                running = source.running()  # asked before reading, so that the last lines are not missed
                chunk = log.read(min(_CHUNK_BYTES, left_bytes or _CHUNK_BYTES))
                if chunk:
                    left_bytes = None if left_bytes is None else left_bytes - len(chunk)
                    await response.write(chunk)
                elif not follow or not running or source.logs.current() != path:
                    break
                else:
                    await asyncio.sleep(_FOLLOW_INTERVAL_S)
        await response.write_eof()
        return response


def server_tls(certificate: Path, key: Path, ca_certificate: Path) -> ssl.SSLContext:
    """Return TLS that demands a client certificate of the fleet's CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca_certificate))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _healthz(request: web.Request) -> web.Response:
    del request  # the answer is the same for every one
    return web.Response(text="ok")


@web.middleware
async def _only_api_server(request: web.Request, handler: Any) -> web.StreamResponse:
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    names = [
        value
        for entry in (certificate or {}).get("subject", ())
        for key, value in entry
        if key == "commonName"
    ]
    if API_SERVER_COMMON_NAME not in names:
        raise web.HTTPForbidden(text="only the API server may ask a node\n")
    response: web.StreamResponse = await handler(request)
    return response
