"""What an `oci://` URI names: a file in an artifact of a registry. Pure."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from fleetfit_api.reasons import Reason

from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.uri import redacted

# Names, tags and digests as the distribution specification has them; a file can follow only a tag or a digest.
_REFERENCE: Final = re.compile(
    r"^oci://(?P<registry>[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?|\[[0-9a-fA-F:]+\](?::[0-9]{1,5})?)"
    r"/(?P<repository>[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*)"
    r"(?:(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})|@(?P<digest>sha256:[0-9a-f]{64}))(?:/(?P<file>.+))?)?$"
)
_DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_API: Final = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class OciReference:
    """The parts of a reference.

    Attributes:
        registry: host, with port where there is one.
        repository: name of the repository.
        version: tag or digest of the artifact.
        file: title of the file in it; empty for the one with the digest that is wanted.
    """

    registry: str
    repository: str
    version: str
    file: str

    @property
    def is_local(self) -> bool:
        """Whether the registry is on this machine, where tools speak plain http."""
        host = self.registry.rpartition(":")[0] or self.registry
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return host == "localhost"

    @property
    def api_host(self) -> str:
        """Host that answers the API: Docker Hub's has another name."""
        return _DOCKER_HUB_API if self.registry == _DOCKER_HUB else self.registry


def oci_reference(uri: str) -> OciReference:
    """Return what a URI names.

    Raises:
        ModelFailure: it is none.
    """
    match = _REFERENCE.match(uri)
    if match is None:
        raise ModelFailure(
            Reason.UNSUPPORTED_URI,
            f"{redacted(uri)!r} is no reference; use oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY:TAG/FILE",
        )
    version = match["digest"] or match["tag"] or "latest"
    return OciReference(match["registry"], match["repository"], version, unquote(match["file"] or ""))
