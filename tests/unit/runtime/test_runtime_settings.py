"""Settings from the environment."""

from pathlib import Path

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


def test_trusted_peers_are_addresses_and_networks() -> None:
    networks = read_settings({"NODE_NAME": "n1", "FLEETFIT_RATING_TRUSTED_PEERS": "10.0.0.7, fd00::/8"})
    assert [str(network) for network in networks.rating_trusted_peers] == ["10.0.0.7/32", "fd00::/8"]
    assert read_settings({"NODE_NAME": "n1"}).rating_trusted_peers == ()


def test_secrets_are_directories() -> None:
    settings = read_settings({"NODE_NAME": "n1", "FLEETFIT_CREDENTIALS_DIRS": "/a/one,/a/two"})
    assert settings.credentials_dirs == (Path("/a/one"), Path("/a/two"))
    assert read_settings({"NODE_NAME": "n1"}).credentials_dirs == ()


def test_arena_and_memory_budget() -> None:
    settings = read_settings(
        {"NODE_NAME": "n1", "FLEETFIT_CPU_ARENA": "off", "FLEETFIT_MODEL_MEMORY_BYTES": "1000"}
    )
    assert (settings.cpu_arena, settings.model_memory_bytes) == (False, 1000)
    assert read_settings({"NODE_NAME": "n1"}).cpu_arena


@pytest.mark.parametrize(
    ("over", "url"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/tenant"}, "http://c:4318/tenant/v1/traces"),
        (
            {
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/x",
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
            },
            "https://t/x",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
    ],
    ids=["off", "base", "base-with-path", "whole", "switched-off"],
)
def test_where_traces_go(over: dict[str, str], url: str | None) -> None:
    assert read_settings({"NODE_NAME": "n1"} | over).traces_url == url


def test_headers_and_attributes_are_pairs() -> None:
    settings = read_settings(
        {
            "NODE_NAME": "n1",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20YQ==, x-tenant=edge",
            "OTEL_RESOURCE_ATTRIBUTES": "",
        }
    )
    assert settings.otlp_headers == {"authorization": "Basic YQ==", "x-tenant": "edge"}
    assert settings.resource_attributes == {}


def test_empty_variable_counts_as_absent() -> None:
    assert read_settings({"NODE_NAME": "n1", "FLEETFIT_INTRA_OP_THREADS": ""}).intra_op_threads is None


@pytest.mark.parametrize(
    "over",
    [
        {"NODE_NAME": ""},
        {"FLEETFIT_HTTP_PORT": "70000"},
        {"FLEETFIT_PROVIDERS": ","},
        {"FLEETFIT_LOG_LEVEL": "x"},
        {"FLEETFIT_RATING_TRUSTED_PEERS": "10.0.0.0/8,gateway"},
        {"FLEETFIT_RATING_TRUSTED_PEERS": "10.0.0.1/8"},
    ],
)
def test_fault_names_its_variable(over: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(over))):
        read_settings({"NODE_NAME": "n1"} | over)
