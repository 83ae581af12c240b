"""Makes tracing where the settings ask for it, and imports it only then: most nodes have no collector."""

import random
from typing import TYPE_CHECKING

from fleetfit_runtime.serve.infer_ledger import RequestObserver
from fleetfit_runtime.settings import Settings

if TYPE_CHECKING:
    from fleetfit_runtime.telemetry.tracing import Tracing


def wanted_tracing(
    settings: Settings, version: str, observer: RequestObserver, rng: random.Random
) -> "Tracing | None":
    """Return what traces requests and tells the observer of them too; None without a collector."""
    if settings.traces_url is None:
        return None
    # With a client of HTTP, which takes a tenth of a second to import.
    from fleetfit_runtime.telemetry.tracing import Tracing

    return Tracing(settings.traces_url, settings, version, observer, rng)
