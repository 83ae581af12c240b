"""FastAPI with uvicorn, the way its tutorial serves a model: pydantic in, lists out."""

import sys
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sessions import sessions

app = FastAPI()
models = sessions(sys.argv[2])


class Tensor(BaseModel):
    """A tensor in JSON."""

    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class InferRequest(BaseModel):
    """An infer request in JSON."""

    inputs: list[Tensor]


@app.get("/ready")
def ready() -> dict[str, bool]:
    """Tell that it is ready."""
    return {"ready": True}


@app.post("/v2/models/{name}/infer")
async def infer(name: str, request: InferRequest) -> dict[str, Any]:
    """Run a model."""
    tensor = request.inputs[0]
    array = np.array(tensor.data, np.float32).reshape(tensor.shape)
    (output,) = models[name].run(["output"], {"input": array})
    described = {
        "name": "output",
        "shape": list(output.shape),
        "datatype": "FP32",
        "data": output.ravel().tolist(),
    }
    return {"model_name": name, "outputs": [described]}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
