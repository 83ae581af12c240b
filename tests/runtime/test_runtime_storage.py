"""Fetching from real servers of each kind of storage, with credentials from Secrets as the kubelet mounts them."""

import base64
import hashlib
import json
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from fleetfit_api.reasons import Reason
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.credentials import Credentials
from fleetfit_runtime.store.fetch import Fetcher
from fleetfit_runtime.store.source import Wanted
from fleetfit_runtime.store.sources import Sources, SourceTools
from obstore import put
from obstore.store import AzureStore, S3Store
from storage_servers import (
    AZURE_ACCOUNT,
    AZURE_KEY,
    PASSWORD,
    USER,
    azure_server,
    gcs_server,
    push_artifact,
    registry,
    s3_server,
)

from localfleet.testing import build_storage_servers

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2
AZURITE = os.environ.get("AZURITE_BLOB") or shutil.which("azurite-blob")
HTTP: dict[str, Any] = {"allow_http": True}


class Place:
    """A store and the Secrets that its node has."""

    def __init__(self, directory: Path, http: aiohttp.ClientSession) -> None:
        self.secrets = directory / "secrets"
        secrets = [self.secrets / name for name in ("store", "all", "bound", "registry")]
        self.store = BlobStore(directory / "store")
        self.store.open()
        tools = SourceTools(
            lambda: http, Credentials(secrets), claims_dir=directory / "claims", idle_timeout_s=5.0
        )
        self.fetcher = Fetcher(self.store, Sources(tools), random.Random(1))

    def give(self, secret: str, **values: str) -> None:
        """Mount a Secret, or a newer version of it."""
        folder = self.secrets / secret
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "..2026_01_01").mkdir(parents=True)
        (folder / "..data").symlink_to("..2026_01_01")
        for key, value in values.items():
            (folder / "..2026_01_01" / key).write_text(value)
            (folder / key).symlink_to(f"..data/{key}")

    async def fetch(self, uri: str) -> bytes:
        return (await self.fetcher.ensure(Wanted(uri, SHA256, len(CONTENT)))).read_bytes()

    async def failure(self, uri: str) -> ModelFailure:
        with pytest.raises(ModelFailure) as caught:
            await self.fetch(uri)
        return caught.value

    async def resumes(self, uri: str, validator: str | None = None) -> bytes:
        """Fetch a file of which half is there already; a half that would be wrong shows that it was used."""
        self.store.path(SHA256).unlink(missing_ok=True)
        partial = self.store.partial_path(SHA256)
        partial.write_bytes(CONTENT[:HALF])
        if validator is not None:
            partial.write_bytes(bytes(HALF))
            partial.with_name(partial.name + ".from").write_text(json.dumps([uri, validator]))
        return await self.fetch(uri)


@pytest.fixture(scope="session")
def programs() -> Path:
    return build_storage_servers()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def place(tmp_path: Path, http: aiohttp.ClientSession) -> Place:
    return Place(tmp_path, http)


async def test_s3_with_keys_from_a_secret(place: Place, programs: Path, tmp_path: Path) -> None:
    async with s3_server(programs, tmp_path) as address:
        keys = {
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
        }
        config: Any = {key.lower(): value for key, value in keys.items()}
        put(S3Store("models", config=config, client_options=HTTP), "deep/m.onnx", CONTENT)
        place.give("store", **{**keys, "AWS_SECRET_ACCESS_KEY": "not-the-password"})
        refused = await place.failure("s3://models/deep/m.onnx")
        assert (refused.reason, refused.transient) == (Reason.UNREACHABLE_SOURCE, True)
        assert "403" in refused.message
        assert "not-the-password" not in refused.message
        place.give("store", **keys)
        assert await place.fetch("s3://models/deep/m.onnx") == CONTENT
        assert await place.resumes("s3://models/deep/m.onnx") == CONTENT
        assert await place.resumes("s3://models/deep/m.onnx", '"another version"') == CONTENT
        place.store.path(SHA256).unlink()
        missing = await place.failure("s3://models/none.onnx")
        assert (missing.reason, missing.transient) == (Reason.FILE_NOT_FOUND, False)
        place.give("store", **{**keys, "AWS_NO_SUCH_THING": "x"})
        assert "key that is not known" in (await place.failure("s3://models/deep/m.onnx")).message


async def test_secret_with_a_prefix_is_used_for_its_uris_alone(
    place: Place, programs: Path, tmp_path: Path
) -> None:
    async with s3_server(programs, tmp_path) as address:
        keys = {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": PASSWORD, "AWS_ENDPOINT_URL": address}
        config: Any = {key.lower(): value for key, value in keys.items()}
        put(S3Store("models", config=config, client_options=HTTP), "m.onnx", CONTENT)
        place.give("all", **{**keys, "AWS_SECRET_ACCESS_KEY": "not-the-password"})
        place.give("bound", uriPrefix="s3://models-of-others", **keys)
        assert "403" in (await place.failure("s3://models/m.onnx")).message
        place.give("bound", uriPrefix="s3://models/", **keys)
        assert await place.fetch("s3://models/m.onnx") == CONTENT


async def test_google_cloud_storage_without_credentials(place: Place, programs: Path, tmp_path: Path) -> None:
    async with gcs_server(programs, tmp_path, CONTENT) as address:
        place.give("store", GOOGLE_BASE_URL=address)
        assert await place.fetch("gs://models/m.onnx") == CONTENT
        assert await place.resumes("gs://models/m.onnx") == CONTENT
        place.store.path(SHA256).unlink()
        assert (await place.failure("gs://models/none")).reason == Reason.FILE_NOT_FOUND


@pytest.mark.skipif(AZURITE is None, reason="there is no azurite-blob (npm install --global azurite)")
async def test_azure_with_a_key_from_a_secret(place: Place, http: aiohttp.ClientSession) -> None:
    assert AZURITE is not None
    async with azure_server(Path(AZURITE), http) as endpoint:
        keys = {
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }
        config: Any = {key.lower(): value for key, value in keys.items()}
        put(AzureStore("models", config=config, client_options=HTTP), "m.onnx", CONTENT)
        place.give(
            "store", **{key: value for key, value in keys.items() if key != "AZURE_STORAGE_ACCOUNT_KEY"}
        )
        assert (await place.failure("azure://models/m.onnx")).reason in (
            Reason.FILE_NOT_FOUND,
            Reason.UNREACHABLE_SOURCE,
        )
        place.give("store", **keys)
        assert await place.fetch("azure://models/m.onnx") == CONTENT
        assert await place.resumes("azure://models/m.onnx") == CONTENT
        assert await place.resumes("azure://models/m.onnx", '"0x8DEADBEEF"') == CONTENT


async def test_registry_by_digest_and_by_title(
    place: Place, programs: Path, http: aiohttp.ClientSession
) -> None:
    async with registry(programs) as address:
        await push_artifact(http, address, "v1", {"other.onnx": b"other", "deep/m.onnx": CONTENT})
        base = address.replace("http://", "oci://") + "/models:v1"
        assert await place.fetch(base) == CONTENT
        assert await place.resumes(f"{base}/deep/m.onnx") == CONTENT
        place.store.path(SHA256).unlink()
        missing = await place.failure(f"{base}/none.onnx")
        assert missing.reason == Reason.FILE_NOT_FOUND
        assert "deep/m.onnx, other.onnx" in missing.message
        other = await place.failure(f"{base}/other.onnx")
        assert (other.reason, other.transient) == (Reason.SIZE_MISMATCH, False)
        assert (await place.failure(base.replace("v1", "v2"))).reason == Reason.FILE_NOT_FOUND


@pytest.fixture
async def guard() -> AsyncIterator[Callable[[str], Any]]:
    """Stand before a registry: it lets pass who has the token that another of its paths gives for a password."""
    runners: list[web.AppRunner] = []

    async def make(behind: str) -> str:
        login = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

        async def token(request: web.Request) -> web.Response:
            if request.headers.get("Authorization") != login:
                return web.Response(status=401)
            assert request.query["scope"] == "repository:models:pull"
            return web.json_response({"token": "let-me-in"})

        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != "Bearer let-me-in":
                challenge = f'Bearer realm="http://{request.host}/token",service="guard",scope="x"'
                return web.Response(status=401, headers={"WWW-Authenticate": challenge})
            raise web.HTTPTemporaryRedirect(behind + request.path)

        application = web.Application()
        application.router.add_get("/token", token)
        application.router.add_get("/v2/{rest:.*}", guarded)
        runner = web.AppRunner(application)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"127.0.0.1:{runner.addresses[0][1]}"

    yield make
    for runner in runners:
        await runner.cleanup()


async def test_registry_with_a_user_from_a_docker_configuration(
    place: Place, programs: Path, http: aiohttp.ClientSession, guard: Callable[[str], Any]
) -> None:
    async with registry(programs) as address:
        await push_artifact(http, address, "v1", {"m.onnx": CONTENT})
        host = await guard(address)
        uri = f"oci://{host}/models:v1/m.onnx"
        refused = await place.failure(uri)
        assert (refused.reason, refused.transient) == (Reason.UNREACHABLE_SOURCE, True)
        assert ".dockerconfigjson" in refused.message
        auths = {"auths": {f"https://{host}/v1/": {"username": USER, "password": "wrong"}}}
        place.give("registry", **{".dockerconfigjson": json.dumps(auths)})
        assert "this node's user" in (await place.failure(uri)).message
        auths["auths"][f"https://{host}/v1/"]["password"] = PASSWORD
        place.give("registry", **{".dockerconfigjson": json.dumps(auths)})
        assert await place.fetch(uri) == CONTENT


async def test_claim_is_read_where_it_is_mounted_and_no_path_leads_out(place: Place, tmp_path: Path) -> None:
    volume = tmp_path / "claims" / "models"
    volume.mkdir(parents=True)
    (volume / "m.onnx").write_bytes(CONTENT)
    (tmp_path / "outside.onnx").write_bytes(CONTENT)
    (volume / "link.onnx").symlink_to(tmp_path / "outside.onnx")
    assert (await place.failure("pvc://absent/m.onnx")).reason == Reason.FILE_NOT_FOUND
    for path in ("../../outside.onnx", "%2e%2e/%2e%2e/outside.onnx", "link.onnx"):
        escaped = await place.failure(f"pvc://models/{path}")
        assert (escaped.reason, escaped.transient) == (Reason.UNSUPPORTED_URI, False)
    assert await place.fetch("pvc://models/m.onnx") == CONTENT
