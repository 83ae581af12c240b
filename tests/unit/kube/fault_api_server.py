"""A small API server that commits faults on request: what a real one will not do when asked.

It serves one kind (config maps) by list and watch. All that a real server does do is tested against the real one.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web
from fleetfit_kube import Connection


class FaultApiServer:
    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.version = 100
        self.requests: list[tuple[str, str]] = []
        self.tokens: list[str] = []
        self.planned: deque[web.Response | None] = deque()
        self.expire_watches = 0
        self.silent = False
        self.page_size_seen: list[str] = []
        self._streams: set[asyncio.Queue[dict[str, Any] | None]] = set()
        self.url = ""

    # --- what tests do

    def put(self, name: str, **data: str) -> dict[str, Any]:
        """Create or change an object."""
        self.version += 1
        known = name in self.objects
        document = {"metadata": self._metadata(name), "data": data}
        self.objects[name] = document
        self._send({"type": "MODIFIED" if known else "ADDED", "object": document})
        return document

    def delete(self, name: str, *, announce: bool = True) -> None:
        """Delete an object; without an announcement watches never learn of it."""
        self.version += 1
        document = self.objects.pop(name)
        if announce:
            self._send({"type": "DELETED", "object": {**document, "metadata": self._metadata(name)}})

    def bookmark(self) -> None:
        self._send({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.version)}}})

    def send_raw(self, event: dict[str, Any]) -> None:
        self._send(event)

    def end_watches(self) -> None:
        for stream in self._streams:
            stream.put_nowait(None)

    def fail_next(
        self, status: int, *, reason: str = "Injected", retry_after: str = "", times: int = 1
    ) -> None:
        body = {"kind": "Status", "code": status, "reason": reason, "message": "injected by the test"}
        headers = {"Retry-After": retry_after} if retry_after else {}
        for _ in range(times):
            self.planned.append(web.json_response(body, status=status, headers=headers))

    def cut_next(self) -> None:
        """Close the connection of the next request without an answer."""
        self.planned.append(None)

    @property
    def watching(self) -> int:
        return len(self._streams)

    def verbs(self) -> list[str]:
        return [method for method, _ in self.requests]

    # --- the server

    def _metadata(self, name: str) -> dict[str, str]:
        return {
            "name": name,
            "namespace": "default",
            "resourceVersion": str(self.version),
            "uid": f"uid-{name}",
        }

    def _send(self, event: dict[str, Any]) -> None:
        for stream in self._streams:
            stream.put_nowait(event)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs))
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.planned:
            answer = self.planned.popleft()
            if answer is not None:
                return answer
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if request.query.get("watch"):
            return await self._watch(request)
        if request.method != "GET":
            return web.json_response(
                {"metadata": {"name": "written"}, "sent": (await request.read()).decode()}
            )
        name = request.match_info["rest"].partition("configmaps/")[2]
        if name:
            return web.json_response(self.objects[name])
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        self.page_size_seen.append(request.query.get("limit", ""))
        names = sorted(self.objects)
        start, limit = int(request.query.get("continue", "0")), int(request.query.get("limit", "500"))
        page = names[start : start + limit]
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(names):
            metadata["continue"] = str(start + limit)
        return web.json_response({"metadata": metadata, "items": [self.objects[name] for name in page]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        if self.expire_watches:
            self.expire_watches -= 1
            status = {
                "kind": "Status",
                "code": 410,
                "reason": "Expired",
                "message": "too old resource version",
            }
            await response.write(orjson.dumps({"type": "ERROR", "object": status}) + b"\n")
            return response
        stream: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._streams.add(stream)
        try:
            while (event := await stream.get()) is not None:
                if not self.silent:
                    line = orjson.dumps(event) + b"\n"
                    half = len(line) // 2
                    await response.write(line[:half])
                    await response.write(line[half:])
        finally:
            self._streams.discard(stream)
        return response

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultApiServer"]:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self.end_watches()
            await runner.cleanup()

    def connection(self) -> Connection:
        return Connection(self.url)


async def until(condition: Any, timeout_s: float = 5.0) -> None:
    """Yield to the loop until the condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is awaited is the state of the world, which sends no event
            await asyncio.sleep(0.002)
