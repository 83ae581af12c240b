"""Run the benchmark: `python -m benchmarks.serving`. Prints tables and writes `build/bench/serving.json`.

The server has one core and one thread of ONNX Runtime, the client another core; replies are checked; bare runs are
measured between the loads, and what counts are ratios to them. The own server and the bare runs are new processes in
every round, since where a process happens to lie in memory moves either by some 3 %. Takes some ten minutes, at first
some more for the environments of the other servers. Install wrk and h2load for the load (Debian: `apt-get install wrk
nghttp2-client`): the clients in Python that take their place are slower, which shows in the cases with one client.
"""

import argparse
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnxruntime

from benchmarks.results import RESULTS_DIRECTORY, Figure, print_figures, print_table, write_results
from benchmarks.serving.bodies import Form
from benchmarks.serving.cases import CASES, UNITS, Case
from benchmarks.serving.closed import Contender, Rounds, check_replies, run_round
from benchmarks.serving.load import client_programs
from benchmarks.serving.models import make_models, sample_of
from benchmarks.serving.own_server import own_server, prepare_store
from benchmarks.serving.peers import PEERS, prepare, serving
from benchmarks.serving.promises import promises
from benchmarks.serving.raw_run import RawRun

_WORK: Final = Path("build/bench-serving")
_OWN: Final = "fleetfit"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=6, help="rounds of each case")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    parser.add_argument("--without-peers", action="store_true", help="measure only the own server")
    parser.add_argument("--cases", default="", help="only figures whose id contains this")
    parser.add_argument("--out", type=Path, default=RESULTS_DIRECTORY, help="where to write")
    options = parser.parse_args(arguments)
    print(f"load: {client_programs()}")
    models = make_models(_WORK / "models")
    figures: dict[str, Figure] = {}
    pythons = {} if options.without_peers else {peer.name: prepare(peer, _WORK) for peer in PEERS}
    for case in CASES:
        if options.cases in case.figure:
            figures[case.figure] = _run_case(case, models, pythons, options)
    if not options.cases:
        figures |= dict(promises(models, _WORK, options.seconds))
    print_figures(figures)
    print(f"\nwritten: {write_results('serving', figures, options.out)}")


def _run_case(
    case: Case, models: Mapping[str, Path], pythons: Mapping[str, Path | None], options: argparse.Namespace
) -> Figure:
    path = models[case.workload.name]
    session = onnxruntime.InferenceSession(str(path))
    (expected,) = session.run(["output"], {"input": sample_of(case.workload)})
    store = _WORK / f"store-{case.workload.name}"
    prepare_store(store, {case.workload.name: path})
    results: dict[str, Rounds] = {}
    with contextlib.ExitStack() as stack:
        peers = list(_peers(case, path, pythons, stack))
        for _ in range(options.rounds):
            with own_server(store) as server, RawRun(path, (1, *case.workload.sample)) as raw:
                contenders = [Contender(_OWN, server, case.request()), *peers]
                for contender in contenders:
                    check_replies(contender, expected)
                run_round(case, contenders, raw, options.seconds, results)
                for contender in contenders:
                    check_replies(contender, expected)
    _print_case(case, results)
    own = results.pop(_OWN)
    others = {name: rounds.figure(case.measure) for name, rounds in results.items()}
    detail = {
        "rounds": [getattr(load, case.measure, 0.0) for load in own.loads]
        if case.measure != "ratio"
        else own.ratios,
        "errors": sum(load.errors for load in own.loads),
        "load": client_programs(),
        "requests_per_s": [load.ok_per_s for load in own.loads],
    }
    return Figure(own.figure(case.measure), UNITS[case.measure], others, case.bar, detail)


def _peers(
    case: Case, path: Path, pythons: Mapping[str, Path | None], stack: contextlib.ExitStack
) -> Iterator[Contender]:
    for peer in PEERS:
        python = pythons.get(peer.name)
        if python is None:
            continue
        # Servers without the binary extension take JSON; the table says so. Those without gRPC cannot take part.
        form = Form.JSON if case.form is Form.BINARY and Form.BINARY not in peer.forms else case.form
        if form not in peer.forms:
            continue
        try:
            print(f"{case.figure}: starting {peer.name}", flush=True)
            server = stack.enter_context(serving(peer, python, path.parent, [case.workload.name]))
        except RuntimeError as error:
            print(f"{peer.name} is left out of {case.figure}: {error}")
            continue
        name = peer.name if form is case.form else f"{peer.name} ({form.value})"
        yield Contender(name, server, case.request(form))


def _print_case(case: Case, results: Mapping[str, Rounds]) -> None:
    print_table(
        f"{case.workload.name}, {case.form.value}, {case.clients} client(s)",
        ("server", "req/s", "p50 ms", "p99 ms", "server CPU us/req", "ratio to raw", "errors"),
        [
            (
                name,
                max(load.ok_per_s for load in rounds.loads),
                rounds.figure("p50_ms"),
                min(load.p99_ms for load in rounds.loads),
                rounds.figure("cpu_us"),
                rounds.figure("ratio"),
                sum(load.errors for load in rounds.loads),
            )
            for name, rounds in results.items()
        ],
    )


if __name__ == "__main__":
    main()
