"""The Fleetfit API, group `fleetfit.io/v1alpha1`, as pydantic models.

These models are the one source of the CRDs, of the API reference and of what operator and runtime
exchange. This package does no IO and knows neither Kubernetes clients nor ONNX. Kinds are imported at their first use:
a model takes a millisecond to make, and a node's runtime knows one kind only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fleetfit_api.deployment import InferenceDeployment
    from fleetfit_api.hardware_class import HardwareClass
    from fleetfit_api.node_inference import NodeInference
    from fleetfit_api.suite import ModelSuite

__all__ = ["HardwareClass", "InferenceDeployment", "ModelSuite", "NodeInference"]

_MODULES: Final = {
    "HardwareClass": "hardware_class",
    "InferenceDeployment": "deployment",
    "ModelSuite": "suite",
    "NodeInference": "node_inference",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
