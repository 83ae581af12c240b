"""Number formats of variants, which suites, choices and nodes name alike."""

from enum import StrEnum


class Precision(StrEnum):
    """Number format of a variant's weights and activations."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT4 = "int4"
