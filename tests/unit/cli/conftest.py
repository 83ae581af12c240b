"""The command line in this process."""

import pytest
from fleetfit_cli.__main__ import main

from tests.unit.cli.onnx_files import Cli, Result


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("suite", "describe", path)` gives the exit status and what was written."""

    def run(*words: object) -> Result:
        status = main([str(word) for word in words])
        output, errors = capsys.readouterr()
        return Result(status, output, errors)

    return run
