"""Real servers of the kinds of storage, each with one bucket, container or repository called `models`."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urljoin

import aiohttp

USER, PASSWORD = "storage-user", "storage-password"
AZURE_ACCOUNT = "devstoreaccount1"
# Azurite's well-known key.
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def running(program: Path, *words: str, port: int, **variables: str) -> AsyncIterator[str]:
    """Run a server for the time of the context and give its address."""
    process = await asyncio.create_subprocess_exec(
        program,
        *words,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **variables},
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None, f"{program} ended with {process.returncode}"
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def s3_server(programs: Path, directory: Path) -> AsyncIterator[str]:
    """Give the address of a gateway that checks signatures."""
    root = directory / "s3"
    (root / "models").mkdir(parents=True)
    port = free_port()
    sidecar = directory / "sidecar"
    sidecar.mkdir()
    words = ("--port", f"127.0.0.1:{port}", "--quiet", "posix", "--sidecar", str(sidecar), str(root))
    user = {"ROOT_ACCESS_KEY_ID": USER, "ROOT_SECRET_ACCESS_KEY": PASSWORD}
    async with running(programs / "versitygw", *words, port=port, **user) as address:
        yield address


@asynccontextmanager
async def gcs_server(programs: Path, directory: Path, content: bytes) -> AsyncIterator[str]:
    """Give the address of a server that has `m.onnx`."""
    data = directory / "gcs"
    (data / "models").mkdir(parents=True)
    (data / "models" / "m.onnx").write_bytes(content)
    port = free_port()
    words = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    words += ["-data", str(data), "-public-host", f"127.0.0.1:{port}"]
    async with running(programs / "fake-gcs-server", *words, port=port) as address:
        yield address


@asynccontextmanager
async def azure_server(azurite: Path, http: aiohttp.ClientSession) -> AsyncIterator[str]:
    """Give the address of an account with the container."""
    port = free_port()
    words = ["--blobPort", str(port), "--inMemoryPersistence", "--disableTelemetry", "--silent"]
    async with running(azurite, *words, "--skipApiVersionCheck", port=port) as address:
        account = f"{address}/{AZURE_ACCOUNT}"
        date = formatdate(usegmt=True)
        # The Shared Key scheme of the Blob service; the emulator's path has the account twice.
        signed = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n"
        signed += f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/models\nrestype:container"
        mac = hmac.digest(base64.b64decode(AZURE_KEY), signed.encode(), "sha256")
        headers = {
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(mac).decode()}",
        }
        url = f"{account}/models?restype=container"
        async with http.put(url, headers=headers, skip_auto_headers=["Content-Type"]) as answer:
            assert answer.status == 201, await answer.text()
        yield account


@asynccontextmanager
async def registry(programs: Path) -> AsyncIterator[str]:
    """Give the address of an empty registry."""
    port = free_port()
    async with running(programs / "registry", "-port", str(port), port=port) as address:
        yield address


async def push_artifact(http: aiohttp.ClientSession, address: str, tag: str, files: dict[str, bytes]) -> None:
    """Push files as layers of one artifact `models`, as ORAS does."""
    config = await _push_blob(http, address, b"{}")
    layers = [
        {
            "mediaType": "application/octet-stream",
            "digest": await _push_blob(http, address, content),
            "size": len(content),
            "annotations": {"org.opencontainers.image.title": title},
        }
        for title, content in files.items()
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "artifactType": "application/vnd.fleetfit.test",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": layers,
    }
    url = f"{address}/v2/models/manifests/{tag}"
    async with http.put(url, data=json.dumps(manifest), headers={"Content-Type": _MANIFEST_TYPE}) as answer:
        assert answer.status == 201, await answer.text()


async def _push_blob(http: aiohttp.ClientSession, address: str, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    async with http.post(f"{address}/v2/models/blobs/uploads/") as answer:
        place = urljoin(address, answer.headers["Location"])
    async with http.put(place, params={"digest": digest}, data=content) as answer:
        assert answer.status == 201, await answer.text()
    return digest
