"""Service account tokens bound to a pod, fetched through TokenRequest and renewed well before they expire."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleetfit_kube.client import ApiClient
from fleetfit_kube.resources import SERVICE_ACCOUNTS

from localfleet.node.clock import Clock
from localfleet.node.manifest import Manifest

_RENEW_AT: Final = 0.8  # of the token's life, as the kubelet does
_LONGEST_S: Final = 24 * 3600.0


@dataclass(frozen=True)
class _Token:
    value: str
    renew_at: float


class ServiceTokens:
    """The tokens of one pod."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._tokens: dict[tuple[str, int], _Token] = {}

    async def token(self, pod: Manifest, source: Manifest) -> str:
        """Return the token for a projected `serviceAccountToken` source.

        Raises:
            ApiError: the API server does not give one; a file written earlier keeps the old one.
        """
        key = (source.get("audience") or "", int(source.get("expirationSeconds") or 3600))
        known = self._tokens.get(key)
        now_s = self._clock.monotonic_s()
        if known is None or now_s >= known.renew_at:
            self._tokens[key] = known = await self._request(pod, *key)
        return known.value

    async def _request(self, pod: Manifest, audience: str, expiration_s: int) -> _Token:
        metadata = pod["metadata"]
        spec: Manifest = {
            "audiences": [audience] if audience else [],
            "expirationSeconds": expiration_s,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
        answer = await self._client.create(
            SERVICE_ACCOUNTS,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            metadata["namespace"],
            name=pod["spec"].get("serviceAccountName") or "default",
            subresource="token",
        )
        expires = datetime.fromisoformat(answer["status"]["expirationTimestamp"])
        # The API server may make a token live longer for old clients; what was asked for is what counts.
        life_s = min((expires - self._clock.now()).total_seconds(), float(expiration_s), _LONGEST_S)
        return _Token(answer["status"]["token"], self._clock.monotonic_s() + life_s * _RENEW_AT)
