"""The ConfigMap that holds what a fleet has taught: read, and written by server-side apply.

It keeps a sentence on the last retraining in an annotation, whatever came of it, so that `kubectl describe` tells why a
correction is in use or is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fleetfit_api.names import FLEET_CORRECTION_KEY, LAST_RETRAINING_ANNOTATION, RETRAINING_FIELD_MANAGER
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import NotFound
from fleetfit_kube.resources import CONFIG_MAPS

_LABELS: Final = {
    "app.kubernetes.io/part-of": "fleetfit",
    "app.kubernetes.io/managed-by": "fleetfit-retraining",
}


@dataclass(frozen=True, slots=True)
class ModelStore:
    """One ConfigMap.

    Attributes:
        client: API access.
        namespace: Its namespace.
        name: Its name.
    """

    client: ApiClient
    namespace: str
    name: str

    async def correction(self) -> str:
        """Return the text of the correction in use; empty when there is none.

        Raises:
            ApiError: it cannot be read.
        """
        try:
            found = await self.client.get(CONFIG_MAPS, self.name, self.namespace)
        except NotFound:
            return ""
        data: Mapping[str, str] = found.get("data") or {}
        return data.get(FLEET_CORRECTION_KEY, "")

    async def write(self, correction: str, told: str) -> None:
        """Write a correction, or none when the text is empty, and what is to be told of the retraining.

        Raises:
            ApiError: it cannot be written.
        """
        body: dict[str, Any] = {
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "labels": _LABELS,
                "annotations": {LAST_RETRAINING_ANNOTATION: told},
            }
        }
        # What is not in the body any more is removed, since this manager is the only one that has written it.
        if correction:
            body["data"] = {FLEET_CORRECTION_KEY: correction}
        await self.client.apply(CONFIG_MAPS, body, field_manager=RETRAINING_FIELD_MANAGER)
