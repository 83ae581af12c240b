"""Chooses the source for a URI by its scheme, and makes it at its first use: what no URI needs is not imported."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.credentials import Credentials
from fleetfit_runtime.store.source import Source
from fleetfit_runtime.store.uri import redacted, split_uri

if TYPE_CHECKING:
    import aiohttp

_SCHEMES: Final = "http://, https://, s3://, gs://, azure://, oci://, pvc:// or file://"


@dataclass(frozen=True, slots=True)
class SourceTools:
    """What sources are made with.

    Attributes:
        http: gives the session for http and registries; the caller closes it.
        credentials: who asks.
        claims_dir: where claims are mounted.
        plain_http_registries: registries without TLS.
        idle_timeout_s: give up when a source sends nothing for this long.
    """

    http: "Callable[[], aiohttp.ClientSession]"
    credentials: Credentials = field(default_factory=Credentials)
    claims_dir: Path = Path("/var/lib/fleetfit-claims")
    plain_http_registries: frozenset[str] = frozenset()
    idle_timeout_s: float = 30.0


class Sources:
    """The sources of a node.

    Args:
        tools: what they are made with.
    """

    def __init__(self, tools: SourceTools) -> None:
        self._tools = tools
        self._made: dict[Callable[[SourceTools], Source], Source] = {}

    def for_uri(self, uri: str) -> Source:
        """Return the source that fetches a URI.

        Raises:
            ModelFailure: there is none.
        """
        scheme = split_uri(uri).scheme
        make = _OF_SCHEME.get(scheme)
        if make is None:
            message = f"the scheme {scheme!r} of {redacted(uri)!r} is not supported; use {_SCHEMES}"
            raise ModelFailure(Reason.UNSUPPORTED_URI, message)
        if scheme == "https" and self._is_blob(uri):
            make = _object
        if make not in self._made:
            self._made[make] = make(self._tools)
        return self._made[make]

    @staticmethod
    def _is_blob(uri: str) -> bool:
        if ".blob.core.windows.net" not in uri:
            return False
        from fleetfit_runtime.store.clouds import is_blob_url

        return is_blob_url(uri)


def _http(tools: SourceTools) -> Source:
    from fleetfit_runtime.store.source_http import HttpSource

    return HttpSource(tools.http(), tools.credentials, tools.idle_timeout_s)


def _object(tools: SourceTools) -> Source:
    from fleetfit_runtime.store.source_object import ObjectSource

    return ObjectSource(tools.credentials, tools.idle_timeout_s)


def _oci(tools: SourceTools) -> Source:
    from fleetfit_runtime.store.source_oci import OciSource

    return OciSource(tools.http(), tools.credentials, tools.idle_timeout_s, tools.plain_http_registries)


def _file(tools: SourceTools) -> Source:
    from fleetfit_runtime.store.source_file import FileSource

    return FileSource(tools.claims_dir)


_OF_SCHEME: Final[Mapping[str, Callable[[SourceTools], Source]]] = {
    "http": _http,
    "https": _http,
    "s3": _object,
    "gs": _object,
    "azure": _object,
    "oci": _oci,
    "file": _file,
    "pvc": _file,
}
