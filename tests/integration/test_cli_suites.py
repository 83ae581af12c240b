"""What `fleetfit suite build` writes is what the API server takes, and both refuse the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from fleetfit_api.suite import ModelSuite
from fleetfit_cli.__main__ import main
from fleetfit_cli.suites.manifest import read_suite
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import Invalid
from fleetfit_kube.resources import MODEL_SUITES

from examples.digits.catalogue import SUITE_FILE
from localfleet.testing import CommandLine
from tests.unit.cli.suite_cases import BAD, GOOD, suite_with

KERNEL = "5/7 Conv fp32 1024x576x64 g1 w9 s1 262144+147456>262144"
KERNEL_SENTENCE = "a kernel is written by `fleetfit suite build`, as in 5/7 Conv fp32 1024x576x64"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """The digits suite, from its files."""
    path = tmp_path / "suite.yaml"
    variants = [f"{SUITE_FILE.parent / v.uri}:{v.accuracy}" for v in read_suite(SUITE_FILE).spec.variants]
    words = ["--storage-uri", "http://models.example", "--output", str(path)]
    assert main(["suite", "build", "built-by-cli", *words, *variants]) == 0
    return path


@pytest.mark.parametrize("way", [[], ["--server-side"]], ids=["client-side", "server-side"])
async def test_a_built_suite_is_applied_as_it_is(
    way: list[str], built: Path, namespace: str, admin: ApiClient, kubectl: CommandLine
) -> None:
    kubectl("apply", *way, "--namespace", namespace, "--filename", str(built))
    stored = ModelSuite.model_validate(await admin.get(MODEL_SUITES, "built-by-cli", namespace))
    assert stored.spec == read_suite(built).spec


async def test_a_suite_of_the_api_server_can_be_refreshed(
    built: Path, namespace: str, kubectl: CommandLine, tmp_path: Path
) -> None:
    kubectl("apply", "--namespace", namespace, "--filename", str(built))
    words = ["get", "msuite", "built-by-cli", "--namespace", namespace, "--output", "yaml"]
    taken = tmp_path / "taken.yaml"
    taken.write_text(kubectl(*words), encoding="utf-8")

    fresh = tmp_path / "fresh.yaml"
    files = str(SUITE_FILE.parent / "variants")
    assert main(["suite", "build", "--from", str(taken), "--root", files, "--output", str(fresh)]) == 0
    assert read_suite(fresh).spec == read_suite(built).spec
    kubectl("apply", "--filename", str(fresh))


def with_kernel(built: Path, kernel: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(built.read_text(encoding="utf-8"))
    document["spec"]["variants"][0]["features"]["kernels"] = [kernel]
    return document


async def test_a_kernel_in_the_notation_is_taken(built: Path, namespace: str, kubectl: CommandLine) -> None:
    text = yaml.safe_dump(with_kernel(built, KERNEL))
    kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=text)


@pytest.mark.parametrize("kernel", [KERNEL.replace("g1", "g-1"), KERNEL.replace("5/7", "5")])
async def test_a_kernel_with_a_wrong_number_is_refused(
    kernel: str, built: Path, namespace: str, kubectl: CommandLine
) -> None:
    text = yaml.safe_dump(with_kernel(built, kernel))
    result = kubectl.run("apply", "--namespace", namespace, "--filename", "-", stdin=text)
    assert result.returncode == 1
    assert "spec.variants[0].features.kernels[0]" in result.stderr


@pytest.mark.parametrize("kernel", ["Conv", "", KERNEL + " ", "Conv 3x3, 64 channels"])
async def test_a_kernel_written_by_hand_is_refused_with_a_sentence(
    kernel: str, built: Path, namespace: str, kubectl: CommandLine
) -> None:
    text = yaml.safe_dump(with_kernel(built, kernel))
    result = kubectl.run("apply", "--namespace", namespace, "--filename", "-", stdin=text)
    assert result.returncode == 1
    assert KERNEL_SENTENCE in result.stderr


@pytest.mark.parametrize("changes", GOOD, ids=str)
async def test_the_api_server_takes_what_the_command_line_takes(
    changes: dict[str, str | None], namespace: str, admin: ApiClient
) -> None:
    await admin.create(MODEL_SUITES, suite_with(**changes), namespace)


@pytest.mark.parametrize(("changes", "sentence"), BAD, ids=str)
async def test_the_api_server_refuses_what_the_command_line_refuses(
    changes: dict[str, str | None], sentence: str, namespace: str, admin: ApiClient
) -> None:
    with pytest.raises(Invalid, match=sentence.replace("(", "\\(")):
        await admin.create(MODEL_SUITES, suite_with(**changes), namespace)
