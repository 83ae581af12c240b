"""Fuzzes every target for a while: FLEETFIT_FUZZ_SECONDS in all, 60 by default; `make fuzz` gives it far longer.

What was found before is an ordinary test in `test_fuzz_regressions.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris has no wheel for this machine")

TARGETS = ("http_bytes", "json_body", "binary_body", "http2_bytes", "grpc_message")
SECONDS = int(os.environ.get("FLEETFIT_FUZZ_SECONDS", "60"))
HERE = Path(__file__).parent
ARTIFACTS = HERE.parents[1] / "build" / "fuzz"


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_break_the_server(target: str) -> None:
    seconds = -(-SECONDS // len(TARGETS))
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzz_run.py"), target, str(seconds), str(ARTIFACTS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"see {ARTIFACTS}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert "stat::number_of_executed_units" in done.stderr
