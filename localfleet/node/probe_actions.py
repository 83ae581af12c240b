"""Carries out one probe: an HTTP request, a connection or a command."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from localfleet.node.manifest import Manifest
from localfleet.node.probing import ProbeTiming

RunCommand = Callable[[list[str], float], Awaitable[int]]
_FIRST_FAILURE_STATUS = 400


@dataclass(frozen=True)
class ProbeResult:
    """Whether a probe passed, and if not, why."""

    success: bool
    message: str = ""


class Prober:
    """Probes containers on the node's address.

    Args:
        session: For HTTP probes.
        address: Address of the node.
    """

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = address

    async def probe(self, probe: Manifest, container: Manifest, run_command: RunCommand) -> ProbeResult:
        """Probe once, within the probe's time limit."""
        timeout_s = ProbeTiming.of(probe).timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                if action := probe.get("httpGet"):
                    return await self._http(action, container)
                if action := probe.get("tcpSocket"):
                    return await self._tcp(action, container)
                if action := probe.get("exec"):
                    code = await run_command(action["command"], timeout_s)
                    return ProbeResult(code == 0, f"command exited with {code}")
        except TimeoutError:
            return ProbeResult(False, f"no answer within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, LookupError) as error:
            return ProbeResult(False, str(error) or type(error).__name__)
        return ProbeResult(False, "a process node has HTTP, TCP and exec probes only")

    async def _http(self, action: Manifest, container: Manifest) -> ProbeResult:
        scheme = str(action.get("scheme") or "HTTP").lower()
        host, port = action.get("host") or self._address, port_number(action["port"], container)
        path = "/" + (action.get("path") or "/").lstrip("/")
        headers = {"User-Agent": "kube-probe/localfleet"}
        headers |= {header["name"]: header["value"] for header in action.get("httpHeaders") or []}
        url = f"{scheme}://{host}:{port}{path}"
        async with self._session.get(url, headers=headers, ssl=False, allow_redirects=False) as response:
            return ProbeResult(
                response.status < _FIRST_FAILURE_STATUS,
                f"HTTP probe failed with statuscode: {response.status}",
            )

    async def _tcp(self, action: Manifest, container: Manifest) -> ProbeResult:
        host = action.get("host") or self._address
        _, writer = await asyncio.open_connection(host, port_number(action["port"], container))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return ProbeResult(True)


def port_number(port: int | str, container: Manifest) -> int:
    """Return a probe's port, which may be the name of one of the container's.

    Raises:
        LookupError: the container has no port of that name.
    """
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise LookupError(f"the container has no port named {port!r}")
