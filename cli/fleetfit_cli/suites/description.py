"""What an ONNX file costs, as text for people and as a document for programs."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from fleetfit_api.suite import GraphFeatures

from fleetfit_cli.suites.variant_file import VariantFile

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def document(file: VariantFile) -> dict[str, Any]:
    """Return all that is known of a file, in the spelling of a ModelSuite."""
    precision = file.formats.precision
    return {
        "file": str(file.path),
        "sha256": file.sha256,
        "sizeBytes": file.size_bytes,
        "precision": None if precision is None else precision.value,
        "weightFormats": {name: round(share, 6) for name, share in file.formats.shares.items()},
        "openInputs": list(file.open_inputs),
        "features": file.features.to_json(),
    }


def table(file: VariantFile, *, kernels: bool) -> str:
    """Return a page about a file: its figures, then its operators, then its kernels where they are wanted."""
    features = file.features
    traffic = features.memory_traffic_bytes
    rows = [
        ("precision", _precision(file)),
        ("size", f"{scaled(file.size_bytes)}B"),
        ("multiply-accumulates", scaled(features.multiply_accumulates)),
        ("parameters", scaled(features.parameters)),
        ("weights", f"{scaled(features.weight_bytes)}B"),
        ("activations", _activations(features)),
        ("memory traffic", f"{scaled(traffic)}B" if traffic else "unknown"),
        (
            "operators",
            f"{features.operator_count}, depth {features.depth}, width {features.width or 'unknown'}",
        ),
        ("resolution stages", str(features.resolution_stages or "unknown")),
        ("unknown operators", _unknown(features)),
    ]
    if precisions := _work_by_precision(features):
        rows.insert(3, ("  by precision", precisions))
    lines = [str(file.path), *(f"  {name:22}{value}" for name, value in rows), "", *_operators(features)]
    if kernels:
        lines += ["", *_kernels(features)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def scaled(number: float) -> str:
    """Return a number with three digits and a unit prefix, as in 90.5 M; ends in a space where there is none."""
    for size, prefix in _UNITS:
        if number >= size:
            return f"{number / size:.3g} {prefix}"
    return f"{number:.3g} "


def _activations(features: GraphFeatures) -> str:
    peak = features.peak_activation_bytes
    return f"{scaled(features.activation_bytes)}B" + (f", {scaled(peak)}B at the same time" if peak else "")


def _precision(file: VariantFile) -> str:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in file.formats.shares.items())
    return f"{file.formats.precision or 'none that a suite knows'} (weights: {shares})"


def _unknown(features: GraphFeatures) -> str:
    counts = {cost.name: cost.count for cost in features.operators}
    names = [f"{name} x{counts[name]}" if name in counts else name for name in features.unknown_operators]
    return ", ".join(names) or "none"


def _work_by_precision(features: GraphFeatures) -> str:
    work: Counter[str] = Counter()
    for kernel in features.parsed_kernels:
        work[kernel.precision] += kernel.run * kernel.multiply_accumulates
    total = work.total()
    return ", ".join(f"{name} {count / total:.0%}" for name, count in work.most_common() if count)


def _operators(features: GraphFeatures) -> Iterator[str]:
    width = max([len("OPERATOR"), *(len(cost.name) for cost in features.operators)])
    yield f"  {'OPERATOR':{width}}{'COUNT':>8}{'MACS':>12}{'SHARE':>8}"
    total = max(1, features.multiply_accumulates)
    for cost in sorted(features.operators, key=lambda c: (-c.multiply_accumulates, -c.count, c.name)):
        work = cost.multiply_accumulates
        figures = f"{scaled(work):>12}{work / total:>8.1%}" if work else f"{'-':>12}{'-':>8}"
        yield f"  {cost.name:{width}}{cost.count:>8}{figures}"


def _kernels(features: GraphFeatures) -> Iterator[str]:
    yield "  KERNELS (RUNS/WRITTEN OPERATOR PRECISION ROWSxDEPTHxCOLUMNS GROUPS WINDOW STRIDE READ+WEIGHTS>WRITTEN)"
    yield from (f"  {kernel}" for kernel in features.kernels) if features.kernels else ("  unknown",)
