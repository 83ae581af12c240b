"""What telemetry costs a request: `python -m benchmarks.serving.telemetry_cost`.

The same runtime in turn with its metrics off, with them on, with exemplars, and with traces of one request in a hundred
to a collector that takes everything: processor time of the server for a request of the smallest model, sixteen clients.
Writes `build/bench/telemetry_cost.json`.
"""

import argparse
import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from benchmarks.results import RESULTS_DIRECTORY, Figure, print_figures, print_table, write_results
from benchmarks.serving.cases import CASES
from benchmarks.serving.closed import Contender, Rounds, run_round
from benchmarks.serving.models import make_models
from benchmarks.serving.own_server import PORT, own_server, prepare_store
from benchmarks.serving.process import SERVER_CORE
from benchmarks.serving.raw_run import RawRun

_WORK: Final = Path("build/bench-serving")
_FIGURE: Final = "mlp_bin_c16_cpu_us"
_OFF: Final = "off"
_TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.telemetry_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="rounds of each setting")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    parser.add_argument("--out", type=Path, default=RESULTS_DIRECTORY, help="where to write")
    options = parser.parse_args(arguments)
    figures = measure(options.rounds, options.seconds)
    print_figures(figures)
    print(f"\nwritten: {write_results('telemetry_cost', figures, options.out)}")


def measure(rounds: int, seconds: float) -> dict[str, Figure]:
    """Return microseconds of each setting and their ratios to no telemetry at all."""
    (case,) = [case for case in CASES if case.figure == _FIGURE]
    path = make_models(_WORK / "models")[case.workload.name]
    request = case.request()
    traced = replace(request, headers={**request.headers, "traceparent": _TRACE})
    with contextlib.ExitStack() as stack:
        collector = stack.enter_context(_collector())
        settings: dict[str, dict[str, str]] = {
            _OFF: {"FLEETFIT_METRICS": "false"},
            "metrics": {},
            "exemplars": {"FLEETFIT_METRIC_EXEMPLARS": "true"},
            "traces": {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_TRACES_SAMPLER_ARG": "0.01"},
        }
        contenders = []
        for number, (name, extra) in enumerate(settings.items()):
            store = _WORK / f"store-telemetry-{name}"
            prepare_store(store, {case.workload.name: path})
            server = stack.enter_context(
                own_server(store, (SERVER_CORE,), PORT + number, FLEETFIT_GRPC_PORT="off", **extra)
            )
            contenders.append(Contender(name, server, traced if name == "exemplars" else request))
        raw = stack.enter_context(RawRun(path, (1, *case.workload.sample)))
        results: dict[str, Rounds] = {}
        for _ in range(rounds):
            run_round(case, contenders, raw, seconds, results)
    off_us = results[_OFF].figure("cpu_us")
    print_table(
        "Telemetry's cost: mlp, binary, 16 clients",
        ("telemetry", "server CPU us/req", "ratio to off", "req/s"),
        [
            (
                name,
                load.figure("cpu_us"),
                load.figure("cpu_us") / off_us,
                max(each.ok_per_s for each in load.loads),
            )
            for name, load in results.items()
        ],
    )
    figures: dict[str, Figure] = {}
    for name, load in results.items():
        cpu_us = load.figure("cpu_us")
        detail = {"rounds": [each.cpu_us for each in load.loads]}
        figures[f"telemetry_{name}_cpu_us"] = Figure(cpu_us, "us", detail=detail)
        if name != _OFF:
            figures[f"telemetry_{name}_ratio"] = Figure(cpu_us / off_us, "ratio")
    return figures


class _Taker(BaseHTTPRequestHandler):
    """Takes spans and throws them away."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Collector(ThreadingHTTPServer):
    """Bears that a server that ends hangs up."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _collector() -> Iterator[str]:
    with _Collector(("127.0.0.1", 0), _Taker) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


if __name__ == "__main__":
    main()
