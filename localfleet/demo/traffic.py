"""Sends images to a node's Open Inference Protocol endpoint and counts what comes back.

Knows the protocol and nothing of Kubernetes, so that the figures are those of any client.
"""

import asyncio
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import orjson
from numpy.typing import NDArray

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
REQUEST_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model on a node.

    Attributes:
        node: Name of the node.
        base_url: Address of the node's inference server.
        model_name: Name of the model there.
    """

    node: str
    base_url: str
    model_name: str

    @property
    def infer_url(self) -> str:
        """URL of the inference call."""
        return f"{self.base_url}/v2/models/{self.model_name}/infer"


@dataclass(slots=True)
class Tally:
    """What came back from one node.

    Attributes:
        requests: Requests sent.
        failed: Requests without a right answer of the protocol, for whatever cause.
        correct: Answers whose class is the image's label.
        variants: Answers by the variant that gave them.
        errors: The first few causes of failures, for people.
    """

    requests: int = 0
    failed: int = 0
    correct: int = 0
    variants: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Share of right classes among all requests; 0.0 without requests."""
        return self.correct / self.requests if self.requests else 0.0

    def add_answer(self, variant: str, is_correct: bool) -> None:
        """Count an answer."""
        self.requests += 1
        self.correct += is_correct
        self.variants[variant] = self.variants.get(variant, 0) + 1

    def add_failure(self, cause: str) -> None:
        """Count a request that got no answer."""
        self.requests += 1
        self.failed += 1
        if len(self.errors) < 5:
            self.errors.append(cause)


def encode_request(image: Images) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a binary inference request for one image of shape [1, 1, 8, 8]."""
    tensor = np.ascontiguousarray(image, dtype=np.float32).tobytes()
    header = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "datatype": "FP32",
                    "shape": list(image.shape),
                    "parameters": {"binary_data_size": len(tensor)},
                }
            ]
        }
    )
    headers = {
        "Inference-Header-Content-Length": str(len(header)),
        "Content-Type": "application/octet-stream",
    }
    return header + tensor, headers


class TrafficClient:
    """A client that classifies images on any node."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def classify(self, endpoint: Endpoint, image: Images, label: int, tally: Tally) -> None:
        """Send one image and add the outcome to the tally; a failure is counted, not raised."""
        body, headers = encode_request(image)
        try:
            async with self._session.post(endpoint.infer_url, data=body, headers=headers) as response:
                answer = orjson.loads(await response.read())
                if response.status != 200:
                    tally.add_failure(f"{response.status}: {answer.get('error', '')}")
                    return
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            tally.add_failure(f"{type(error).__name__}: {error}")
            return
        scores = np.asarray(answer["outputs"][0]["data"], dtype=np.float64).reshape(-1)
        tally.add_answer(answer.get("model_version", ""), int(scores.argmax()) == label)

    async def classify_all(self, endpoint: Endpoint, images: Images, labels: Labels) -> Tally:
        """Send every image once, one after the other, as one user would."""
        tally = Tally()
        for image, label in zip(images, labels, strict=True):
            await self.classify(endpoint, image[np.newaxis], int(label), tally)
        return tally

    async def classify_until(
        self, endpoint: Endpoint, images: Images, labels: Labels, stop: asyncio.Event, pause_s: float
    ) -> Tally:
        """Send images round and round with a short pause between them until `stop` is set."""
        tally = Tally()
        position = 0
        while not stop.is_set():
            await self.classify(endpoint, images[position : position + 1], int(labels[position]), tally)
            position = (position + 1) % len(images)
            try:
                await asyncio.wait_for(stop.wait(), pause_s)
            except TimeoutError:
                continue
        return tally


def open_session() -> aiohttp.ClientSession:
    """Return a session with keep-alive and a time limit per request."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))
