"""Settings from the environment."""

import pytest
from fleetfit_runtime.settings import SettingsError, read_settings


def test_defaults_need_only_the_node_name() -> None:
    settings = read_settings({"NODE_NAME": "n1", "UNRELATED": "x"})
    assert (settings.node_name, settings.http_port) == ("n1", 8080)
    assert settings.provider_chain == ("CPUExecutionProvider",)
    assert settings.intra_op_threads is None


def test_provider_chain_ends_with_the_processor_and_has_no_repetition() -> None:
    names = "OpenVINOExecutionProvider, CPUExecutionProvider ,OpenVINOExecutionProvider,"
    chain = read_settings({"NODE_NAME": "n1", "FLEETFIT_PROVIDERS": names}).provider_chain
    assert chain == ("OpenVINOExecutionProvider", "CPUExecutionProvider")


def test_empty_variable_counts_as_absent() -> None:
    assert read_settings({"NODE_NAME": "n1", "FLEETFIT_INTRA_OP_THREADS": ""}).intra_op_threads is None


@pytest.mark.parametrize(
    "over",
    [
        {"NODE_NAME": ""},
        {"FLEETFIT_HTTP_PORT": "70000"},
        {"FLEETFIT_PROVIDERS": ","},
        {"FLEETFIT_LOG_LEVEL": "x"},
    ],
)
def test_fault_names_its_variable(over: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(over))):
        read_settings({"NODE_NAME": "n1"} | over)
