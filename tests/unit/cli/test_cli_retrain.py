"""What `fleetfit retrain` says, and to whom it talks. What it does to a cluster is tested on a real API server."""

import subprocess
import sys
from pathlib import Path

import pytest
from fleetfit_cli.commands.retrain import report_text
from fleetfit_training.retrain import Outcome, RetrainReport

from tests.unit.cli.onnx_files import Cli


def test_errors_are_shown_with_their_factors_and_the_verdict() -> None:
    errors = {"shipped": 0.4, "in use": 0.2, "new": 0.1}
    text = report_text(RetrainReport(Outcome.PROMOTED, "it is better", 40, 12, 120, errors))
    assert text == (
        "nodes with timings that count: 40, 12 of them held out; timings: 120\n"
        "on held-out nodes     mean |log error|    factor\n"
        "shipped                          0.400     1.492\n"
        "in use                           0.200     1.221\n"
        "new                              0.100     1.105\n"
        "Promoted: it is better\n"
    )


def test_without_errors_there_is_no_table() -> None:
    text = report_text(RetrainReport(Outcome.TOO_FEW, "2 nodes", 2, 1, 6, {}))
    assert text.endswith("timings: 6\nTooFewNodes: 2 nodes\n")
    assert "error" not in text


@pytest.mark.parametrize("content", [None, "[]"], ids=["absent", "broken"])
def test_a_kubeconfig_that_cannot_be_used_is_told(content: str | None, tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    result = cli("retrain", "--kubeconfig", path)
    assert result.status == 1
    assert result.errors.startswith("fleetfit: the cluster cannot be reached: ")
    assert str(path) in result.errors
    assert result.errors.count("\n") == 1


def test_it_needs_nothing_that_the_image_of_the_operator_lacks() -> None:
    program = (
        "import sys\nfor absent in ('onnx', 'onnxruntime', 'yaml', 'sklearn', 'jax'): sys.modules[absent] = None\n"
        "import fleetfit_cli.commands.retrain, fleetfit_cli.fleet.connection, fleetfit_cli.fleet.model_store\n"
        "import fleetfit_training.retrain, fleetfit_training.fleet_timings\n"
        "from fleetfit_operator.predict.predictor import LatencyPredictor\nLatencyPredictor.load()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
