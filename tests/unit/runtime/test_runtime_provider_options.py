"""Providers with threads of their own are told how many they may have."""

import json

from fleetfit_runtime.provider_options import with_options


def test_openvino_keeps_to_the_threads_of_the_node() -> None:
    openvino, cpu = with_options(["OpenVINOExecutionProvider", "CPUExecutionProvider"], 2)

    assert openvino[0] == "OpenVINOExecutionProvider"
    assert isinstance(openvino, tuple)
    assert json.loads(openvino[1]["load_config"]) == {"CPU": {"INFERENCE_NUM_THREADS": "2"}}
    assert cpu == "CPUExecutionProvider"


def test_without_a_number_of_threads_every_provider_decides() -> None:
    assert with_options(["OpenVINOExecutionProvider"], 0) == ["OpenVINOExecutionProvider"]
