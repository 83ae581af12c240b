"""The closed-loop cases: every server in turn, with bare runs in between."""

import http.client
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.serving.bodies import Request, grpc_reply_values, reply_values
from benchmarks.serving.cases import Case
from benchmarks.serving.grpc_client import call_once
from benchmarks.serving.load import Measured, closed_loop
from benchmarks.serving.process import ServerProcess
from benchmarks.serving.raw_run import RawRun

# A fresh server learns what comes to it: heads, sizes, how long reading takes.
_WARM_UP_SHARE = 0.25


@dataclass(slots=True)
class Rounds:
    """What a server did in the rounds of a case.

    Attributes:
        loads: The load of each round.
        ratios: Answers a second as a share of bare runs a second around the load.
    """

    loads: list[Measured] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    def figure(self, measure: str) -> float:
        """Return the median of a measure; processor time, which neighbours only lengthen, from the best round."""
        if measure == "ratio":
            return statistics.median(self.ratios)
        if measure == "cpu_us":
            return min(load.cpu_us for load in self.loads)
        return statistics.median(load.p50_ms for load in self.loads)


@dataclass(frozen=True, slots=True)
class Contender:
    """A running server in a case, with the request that it takes."""

    name: str
    server: ServerProcess
    request: Request


def run_round(
    case: Case, contenders: Sequence[Contender], raw: RawRun, seconds: float, results: dict[str, Rounds]
) -> None:
    """Measure a case once, and add it to the results by server.

    Args:
        case: The case.
        contenders: The servers.
        raw: Bare runs of the case's model.
        seconds: How long each is measured.
        results: What they did in the rounds before.
    """
    for contender in contenders:
        closed_loop(contender.server, contender.request, case.clients, seconds * _WARM_UP_SHARE)
    before = raw.runs_per_s(seconds / 2)
    for contender in contenders:
        load = closed_loop(contender.server, contender.request, case.clients, seconds)
        after = raw.runs_per_s(seconds / 2)
        result = results.setdefault(contender.name, Rounds())
        result.loads.append(load)
        result.ratios.append(load.ok_per_s / ((before + after) / 2))
        before = after


def check_replies(
    contender: Contender, expected: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"
) -> None:
    """Ask once and compare.

    Raises:
        RuntimeError: the reply is not what the model answers.
    """
    values = ask(contender.server, contender.request)
    if not np.allclose(values, expected.ravel(), rtol=1e-3, atol=1e-3):
        raise RuntimeError(f"{contender.name} answers something else than the model")


def ask(server: ServerProcess, request: Request) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Ask once and return the values."""
    if request.grpc:
        return grpc_reply_values(call_once(server.grpc_port, request.body))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("POST", request.path, request.body, request.headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {body[:300]!r}")
        return reply_values({name.lower(): value for name, value in answer.getheaders()}, body)
    finally:
        connection.close()
