"""Which predictor is used: the shipped one, or the shipped one with what the fleet has taught (`fleetfit retrain`).

The correction is in a ConfigMap, read at every resync. Without one, and with one that cannot be used, the shipped
predictor works alone; the latter is logged and shown as a metric. While the ConfigMap cannot be read, what was read
last stays in use.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fleetfit_api.names import FLEET_CORRECTION_KEY
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import ApiError, NotFound
from fleetfit_kube.resources import CONFIG_MAPS

from fleetfit_operator.control.prediction import Predictor
from fleetfit_operator.predict.fleet_correction import FleetCorrection, UnusableCorrectionError
from fleetfit_operator.predict.shipped_model import ShippedModel
from fleetfit_operator.telemetry.model_metrics import ModelMetrics

logger = logging.getLogger(__name__)


class PredictorUser(Protocol):
    """Who is told which predictor to use."""

    def use(self, predictor: Predictor) -> None:
        """Use a predictor from now on."""


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """The ConfigMap.

    Attributes:
        namespace: Its namespace.
        name: Its name; empty when no correction is wanted.
    """

    namespace: str
    name: str


@dataclass(slots=True)
class FleetModel:
    """Reads the fleet's correction and hands on the predictor that has it.

    Attributes:
        client: API access.
        place: Where the correction is.
        shipped: Which model it must be of.
        with_correction: Returns the shipped predictor with a correction, or without one.
        user: Who uses the predictor.
        metrics: Shows what is in use.
        correction: The correction in use; None without one.
    """

    client: ApiClient
    place: ModelPlace
    shipped: ShippedModel
    with_correction: Callable[[FleetCorrection | None], Predictor]
    user: PredictorUser
    metrics: ModelMetrics
    correction: FleetCorrection | None = None
    _text: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.metrics.show(self.shipped, None)

    async def refresh(self) -> None:
        """Read the ConfigMap, and change the predictor if it has changed."""
        if not self.place.name:
            return
        try:
            text = await self._read()
        except ApiError as error:
            logger.warning("the fleet's correction cannot be read", extra={"error": str(error)})
            return
        if text != self._text:
            self._text = text
            self._change(text)

    async def _read(self) -> str:
        try:
            found = await self.client.get(CONFIG_MAPS, self.place.name, self.place.namespace)
        except NotFound:
            return ""
        return str((found.get("data") or {}).get(FLEET_CORRECTION_KEY, ""))

    def _change(self, text: str) -> None:
        """Use another text; predictions that rest on the old one are forgotten."""
        refused = False
        try:
            self.correction = FleetCorrection.parse(text, self.shipped.digest) if text else None
        except UnusableCorrectionError as error:
            self.correction, refused = None, True
            logger.error(
                "the fleet's correction is not used",
                extra={"config_map": f"{self.place.namespace}/{self.place.name}", "error": str(error)},
            )
        else:
            nodes = self.correction.facts.nodes if self.correction else 0
            logger.info("the fleet's correction has changed", extra={"trained_on_nodes": nodes})
        self.user.use(self.with_correction(self.correction))
        self.metrics.show(self.shipped, self.correction, refused=refused)
