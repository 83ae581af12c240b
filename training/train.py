"""Trains the shipped predictor and says how good it is: `python -m training.train`.

Reads `training/data`, prints errors on settings and families that were held out, beside simpler predictors, and
writes `operator/fleetfit_operator/predict/model/`. The same data gives the same model.
"""

import sys
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from fleetfit_operator.predict.correction import FEATURE_NAMES
from fleetfit_operator.predict.predictor import ModelMetadata, ReferenceSet

from training.dataset import data_digest, read_machines
from training.evaluation import evaluate
from training.model_fit import (
    CORRECTION_LIMIT,
    fit_assumed_graph,
    fit_correction,
    fit_population,
    nodes_of,
)

MODEL_DIR = Path(str(files("fleetfit_operator.predict") / "model"))


def main() -> None:
    """Evaluate, train on everything, write the model and its metadata."""
    machines = read_machines()
    nodes = nodes_of(machines)
    reference_set = ReferenceSet.load()
    scores = evaluate(nodes, reference_set)
    print_scores(scores)
    population = fit_population(nodes, reference_set)
    booster = fit_correction(nodes, population, reference_set)
    metadata = ModelMetadata(
        data_digest=data_digest(),
        trained_on=datetime.now(UTC).date(),
        set_version=reference_set.version,
        feature_names=FEATURE_NAMES,
        population=population,
        assumed_graph=fit_assumed_graph([graph for machine in machines for graph in machine.graphs.values()]),
        correction_limit=CORRECTION_LIMIT,
        scores={held_out: methods["fleetfit"] for held_out, methods in scores.items()},
    )
    (MODEL_DIR / "latency.txt").write_text(booster.model_to_string())
    (MODEL_DIR / "metadata.json").write_text(metadata.model_dump_json(indent=1) + "\n")


def print_scores(scores: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print one row per way of holding out and method."""
    columns = next(iter(next(iter(scores.values())).values()))
    lines = [f"{'held out':16}{'method':10}" + "".join(f"{column:>25}" for column in columns)]
    for held_out, methods in scores.items():
        for method, figures in methods.items():
            lines.append(
                f"{held_out:16}{method:10}" + "".join(f"{value:25.3f}" for value in figures.values())
            )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
