"""Files in artifacts of OCI registries, as `oras push` makes them: one layer is one file, with its name as title.

Speaks the part of the distribution specification that a pull needs: the manifest, then the layer's blob by range, with
the token that the registry asks for.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.credentials import Credentials
from fleetfit_runtime.store.oci_login import authorization_for
from fleetfit_runtime.store.oci_reference import OciReference, oci_reference
from fleetfit_runtime.store.source import Beginning, Stream, Wanted
from fleetfit_runtime.store.source_http import check_status, fetch_errors, open_http
from fleetfit_runtime.store.uri import redacted

_MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_TITLE: Final = "org.opencontainers.image.title"
_MOST_MANIFEST_BYTES: Final = 4 << 20
_MANIFEST_TIMEOUT_S: Final = 30.0
_SHOWN_TITLES: Final = 8


class OciSource:
    """Fetches from registries.

    Args:
        http: the session; the caller closes it.
        credentials: users of registries.
        idle_timeout_s: give up when a registry sends nothing for this long.
        plain_http: registries that speak http, by host and port; those on this machine always do.
    """

    remote = True

    def __init__(
        self,
        http: aiohttp.ClientSession,
        credentials: Credentials,
        idle_timeout_s: float,
        plain_http: frozenset[str] = frozenset(),
    ) -> None:
        self._http = http
        self._credentials = credentials
        self._idle_timeout_s = idle_timeout_s
        self._plain_http = plain_http

    @asynccontextmanager
    async def open(self, wanted: Wanted, beginning: Beginning) -> AsyncIterator[Stream]:
        """Open the file; see `Source`."""
        reference = oci_reference(wanted.uri)
        plain = reference.is_local or reference.registry in self._plain_http
        base = f"{'http' if plain else 'https'}://{reference.api_host}/v2/{reference.repository}"
        with fetch_errors(wanted.uri):
            url = f"{base}/manifests/{reference.version}"
            headers, manifest = await self._manifest(reference, url, plain=plain)
            digest = layer_digest(manifest, reference.file, wanted)
            url = f"{base}/blobs/{digest}"
            # A blob is named by its digest, so that it cannot change behind a beginning.
            known = Beginning(beginning.size_bytes)
            async with open_http(self._http, url, headers, known, self._idle_timeout_s) as stream:
                yield Stream(stream.start_bytes, "", stream.chunks)

    async def _manifest(
        self, reference: OciReference, url: str, *, plain: bool
    ) -> tuple[dict[str, str], Mapping[str, Any]]:
        """Return the headers that the registry wants and the manifest."""
        timeout = aiohttp.ClientTimeout(total=_MANIFEST_TIMEOUT_S)
        headers: dict[str, str] = {}
        for _ in range(2):
            accept = {"Accept": ", ".join(_MANIFEST_TYPES), **headers}
            async with self._http.get(url, headers=accept, timeout=timeout) as response:
                if response.status != HTTPStatus.UNAUTHORIZED or headers:
                    return headers, await _read_manifest(response, url)
                challenge = response.headers.get("WWW-Authenticate", "")
            login = await self._credentials.login(reference.registry)
            headers = await authorization_for(self._http, challenge, reference, login, plain=plain)
        raise AssertionError("unreachable: the second answer is returned or raised")


def layer_digest(manifest: Mapping[str, Any], file: str, wanted: Wanted) -> str:
    """Return the digest of the layer that holds a file.

    Args:
        manifest: the artifact's.
        file: title of the file; empty for the layer with the digest that is wanted.
        wanted: the file, for its digest and for messages.

    Raises:
        ModelFailure: there is no such layer.
    """
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        kind = "an index of images" if "manifests" in manifest else "no image manifest"
        message = f"{redacted(wanted.uri)} is {kind}; name an artifact whose layers are files"
        raise ModelFailure(Reason.UNSUPPORTED_URI, message)
    files = [(_title(layer), str(layer.get("digest", ""))) for layer in layers if isinstance(layer, dict)]
    looked_for = file or f"sha256:{wanted.sha256}"
    found = next((digest for title, digest in files if looked_for == (title if file else digest)), "")
    if not found:
        titles = ", ".join(sorted(title for title, _ in files if title)[:_SHOWN_TITLES]) or "without titles"
        message = f"the artifact {redacted(wanted.uri)} has no file {looked_for!r}; its files are {titles}"
        raise ModelFailure(Reason.FILE_NOT_FOUND, message)
    if not found.startswith("sha256:"):
        message = f"{redacted(wanted.uri)} is named by the digest {found[:80]!r}; only sha256 is supported"
        raise ModelFailure(Reason.UNSUPPORTED_URI, message)
    return found


def _title(layer: Mapping[str, Any]) -> str:
    annotations = layer.get("annotations")
    return str(annotations.get(_TITLE, "")) if isinstance(annotations, dict) else ""


async def _read_manifest(response: aiohttp.ClientResponse, url: str) -> Mapping[str, Any]:
    check_status(response, url)
    content = b""
    async for chunk in response.content.iter_chunked(1 << 16):
        content += chunk
        if len(content) > _MOST_MANIFEST_BYTES:
            message = f"{redacted(url)} is larger than {_MOST_MANIFEST_BYTES} bytes"
            raise ModelFailure(Reason.SIZE_MISMATCH, message)
    try:
        manifest = json.loads(content)
    except ValueError:
        manifest = None
    if not isinstance(manifest, dict):
        raise ModelFailure(Reason.UNREACHABLE_SOURCE, f"{redacted(url)} is no manifest", transient=True)
    return manifest
