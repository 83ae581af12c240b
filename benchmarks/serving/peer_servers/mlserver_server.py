"""MLServer with a runtime class, in one process: its parallel workers do not start with a current uvloop."""

import asyncio
import os
import sys
from typing import Any

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from sessions import sessions

port, directory = int(sys.argv[1]), sys.argv[2]
models = sessions(directory)


class OnnxModel(MLModel):
    """A model that runs by ONNX Runtime."""

    async def load(self) -> bool:
        """Find the session."""
        self._session: Any = models[self.name]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run it."""
        array = NumpyCodec.decode_input(payload.inputs[0])
        (output,) = self._session.run(["output"], {"input": array.astype("float32")})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("output", output)])


async def main() -> None:
    """Serve."""
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=int(os.environ["BENCH_GRPC_PORT"]),
        metrics_endpoint=None,
        metrics_port=port + 200,
        parallel_workers=0,
        debug=False,
    )
    server = MLServer(settings)
    await server.start([ModelSettings(name=name, implementation=OnnxModel) for name in models])


asyncio.run(main())
