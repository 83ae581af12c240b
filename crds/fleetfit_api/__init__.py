"""The Fleetfit API, group `fleetfit.io/v1alpha1`, as pydantic models.

These models are the one source of the CRDs, of the API reference and of what operator and runtime
exchange. This package does no IO and knows neither Kubernetes clients nor ONNX.
"""

from fleetfit_api.deployment import InferenceDeployment
from fleetfit_api.hardware_class import HardwareClass
from fleetfit_api.node_inference import NodeInference
from fleetfit_api.suite import ModelSuite

__all__ = ["HardwareClass", "InferenceDeployment", "ModelSuite", "NodeInference"]
