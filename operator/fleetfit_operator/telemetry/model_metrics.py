"""The operator's metrics about its model: which one predicts, and how far it was off on held-out nodes."""

from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from fleetfit_operator.predict.fleet_correction import FleetCorrection
from fleetfit_operator.predict.shipped_model import ShippedModel

_NONE: Final = "none"
_REFUSED: Final = "refused"
_DIGEST_CHARACTERS: Final = 12


class ModelMetrics:
    """Gauges about the model.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = Gauge(
            "fleetfit_model_info",
            "The model that predicts: digest of its training data, day of its training, and the digest of the fleet's "
            "correction on top; none without one, refused for one that cannot be used.",
            ["data_digest", "trained_on", "correction"],
            registry=registry,
        )
        self.held_out_error = Gauge(
            "fleetfit_model_held_out_error",
            "Mean absolute logarithm of measured over predicted p95 on nodes that the fleet's correction was not "
            "trained on, without it (shipped) and with it (corrected); absent without a correction.",
            ["model"],
            registry=registry,
        )

    def show(
        self, shipped: ShippedModel, correction: FleetCorrection | None, *, refused: bool = False
    ) -> None:
        """Show the model in use; what is not any more disappears."""
        self.info.clear()
        self.held_out_error.clear()
        name = _REFUSED if refused else _NONE
        if correction is not None:
            name = correction.digest[:_DIGEST_CHARACTERS]
            self.held_out_error.labels("shipped").set(correction.facts.error_without)
            self.held_out_error.labels("corrected").set(correction.facts.error)
        self.info.labels(shipped.data_digest[:_DIGEST_CHARACTERS], shipped.trained_on, name).set(1)
