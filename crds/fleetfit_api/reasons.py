"""The one vocabulary of reasons, shared by conditions, events, node status and metrics."""

from enum import StrEnum


class ConditionType(StrEnum):
    """Types of conditions, readable by kstatus."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"


class Reason(StrEnum):
    """Why a condition, an event or a model on a node is as it is."""

    # InferenceDeployment
    ALL_NODES_READY = "AllNodesReady"
    ROLLING_OUT = "RollingOut"
    ROLLOUT_COMPLETE = "RolloutComplete"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLOUT_STOPPED = "RolloutStopped"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    SUITE_NOT_FOUND = "SuiteNotFound"
    NO_MATCHING_NODES = "NoMatchingNodes"
    NO_FEASIBLE_VARIANT = "NoFeasibleVariant"
    MODEL_NAME_CONFLICT = "ModelNameConflict"
    AWAITING_REFERENCE_RUN = "AwaitingReferenceRun"
    AWAITING_RUNTIME = "AwaitingRuntime"
    NODES_FAILED = "NodesFailed"
    NODES_ABSENT = "NodesAbsent"
    PROVIDER_FALLBACK = "ProviderFallback"
    PREDICTION_DRIFT = "PredictionDrift"
    HEALTHY = "Healthy"
    # ModelSuite and HardwareClass
    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    # A model on a node
    ASSIGNED = "Assigned"
    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    LOADING = "Loading"
    MAKING_ROOM = "MakingRoom"
    SERVING = "Serving"
    UNLOADED = "Unloaded"
    UNREACHABLE_SOURCE = "UnreachableSource"
    FILE_NOT_FOUND = "FileNotFound"
    DIGEST_MISMATCH = "DigestMismatch"
    SIZE_MISMATCH = "SizeMismatch"
    SIGNATURE_INVALID = "SignatureInvalid"
    DISK_FULL = "DiskFull"
    CORRUPT_MODEL = "CorruptModel"
    UNSUPPORTED_OPERATOR = "UnsupportedOperator"
    INSUFFICIENT_MEMORY = "InsufficientMemory"
    WARM_UP_FAILED = "WarmUpFailed"
    MODEL_CRASHED = "ModelCrashed"
    MODEL_HANGS = "ModelHangs"
    NOT_MEASURED_IN_TIME = "NotMeasuredInTime"
    UNSUPPORTED_URI = "UnsupportedUri"
    STALE_EPOCH = "StaleEpoch"
    INTERNAL_ERROR = "InternalError"
