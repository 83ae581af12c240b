"""KServe's Python server with its model class."""

import os
import sys
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from sessions import sessions

port, directory = int(sys.argv[1]), sys.argv[2]
sys.argv = sys.argv[:1]  # The library reads the command line when it is imported and when it starts.


class OnnxModel(Model):
    """A model that runs by ONNX Runtime."""

    def __init__(self, name: str, session: Any) -> None:
        super().__init__(name)
        self._session = session
        self.ready = True

    def predict(self, payload: InferRequest, *_: Any, **__: Any) -> InferResponse:
        """Run it."""
        (array,) = self._session.run(["output"], {"input": payload.inputs[0].as_numpy()})
        output = InferOutput("output", list(array.shape), "FP32")
        output.set_data_from_numpy(
            array, binary_data=payload.request_outputs is not None or payload.from_grpc
        )
        return InferResponse(payload.id or "", self.name, [output])


ModelServer(http_port=port, grpc_port=int(os.environ["BENCH_GRPC_PORT"]), access_log_format=None).start(
    [OnnxModel(name, session) for name, session in sessions(directory).items()]
)
