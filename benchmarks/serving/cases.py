"""The cases in which servers are compared, with what must be reached."""

from dataclasses import dataclass
from typing import Final

from benchmarks.serving.bodies import Form, Request, binary_request, grpc_request, json_request
from benchmarks.serving.models import MLP, MOBILE96, MOBILE96_INT8, RESNET224, Workload, sample_of


@dataclass(frozen=True, slots=True)
class Case:
    """One closed-loop case.

    Attributes:
        figure: Id of the figure.
        workload: The model.
        form: How tensors travel.
        clients: Connections.
        bar: What must be reached.
        measure: `ratio` to bare runs, `cpu_us` or `p50_ms`.
    """

    figure: str
    workload: Workload
    form: Form
    clients: int
    bar: str
    measure: str = "ratio"

    def request(self, form: Form | None = None) -> Request:
        """Return its request, in the form of the case unless another is asked for."""
        return _MAKERS[form or self.form](self.workload.name, sample_of(self.workload))


_MAKERS: Final = {Form.JSON: json_request, Form.BINARY: binary_request, Form.GRPC: grpc_request}
CASES: Final = (
    Case("mlp_bin_c16_cpu_us", MLP, Form.BINARY, 16, "<= 25", "cpu_us"),
    Case("mlp_bin_c1_p50_ms", MLP, Form.BINARY, 1, "<= 0.15", "p50_ms"),
    Case("mobile96_bin_c4_ratio", MOBILE96, Form.BINARY, 4, ">= 0.92"),
    Case("mobile96_int8_bin_c1_ratio", MOBILE96_INT8, Form.BINARY, 1, ">= 0.73"),
    Case("mobile96_int8_bin_c4_ratio", MOBILE96_INT8, Form.BINARY, 4, ">= 0.88"),
    Case("mobile96_json_c1_ratio", MOBILE96, Form.JSON, 1, ">= 0.62"),
    Case("mobile96_grpc_c4_ratio", MOBILE96, Form.GRPC, 4, ">= 0.83"),
    Case("resnet224_bin_c1_ratio", RESNET224, Form.BINARY, 1, ">= 0.94"),
)
UNITS: Final = {"ratio": "ratio", "cpu_us": "us", "p50_ms": "ms"}
