"""Names that are part of the API: group, labels, finalizers, field managers. No behaviour."""

from typing import Final, NewType

GROUP: Final = "fleetfit.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

HARDWARE_CLASS_LABEL: Final = f"{GROUP}/hardware-class"
FINALIZER: Final = f"{GROUP}/finalizer"

OPERATOR_FIELD_MANAGER: Final = "fleetfit-operator"
RUNTIME_FIELD_MANAGER: Final = "fleetfit-runtime"
RETRAINING_FIELD_MANAGER: Final = "fleetfit-retraining"

FLEET_CORRECTION_KEY: Final = "correction.json"
LAST_RETRAINING_ANNOTATION: Final = f"{GROUP}/last-retraining"

RUNTIME_SERVICE_NAME: Final = "fleetfit-runtime"
RUNTIME_HTTP_PORT: Final = 8080
RUNTIME_GRPC_PORT: Final = 8001

NodeName = NewType("NodeName", str)
HardwareClassName = NewType("HardwareClassName", str)
VariantName = NewType("VariantName", str)
