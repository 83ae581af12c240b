"""What a container is told: variables, the downward API and projected files."""

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localfleet.node.environment import (
    ConfigRef,
    MissingConfigError,
    PodFacts,
    config_refs,
    config_values,
    container_environment,
)
from localfleet.node.fields import UnsupportedFieldError, field_value, resource_value
from localfleet.node.projection import ProjectedFile, config_files, downward_files, write_files

POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "n",
        "uid": "u-1",
        "labels": {"app": "x", "a.b/c": 'q"uote'},
        "annotations": {"note": "hi"},
    },
    "spec": {"nodeName": "pi", "serviceAccountName": "sa", "containers": [{"name": "main"}]},
}
CONFIG = {
    ("ConfigMap", "settings"): {"colour": "green", "dir": "/data/x"},
    ("Secret", "keys"): {"password": "sesame"},
}
FACTS = PodFacts(POD, "127.77.1.1", {"cpu": "3800m", "memory": "4Gi"}, CONFIG)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "n"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "x"),
        ("metadata.labels['missing']", ""),
        ("metadata.annotations['note']", "hi"),
        ("metadata.labels", 'a.b/c="q\\"uote"\napp="x"'),
        ("spec.nodeName", "pi"),
        ("spec.serviceAccountName", "sa"),
        ("status.podIP", "127.77.1.1"),
        ("status.podIPs", "127.77.1.1"),
        ("status.hostIP", "127.77.1.1"),
    ],
)
def test_fields_of_the_downward_api(path: str, value: str) -> None:
    assert field_value(POD, "127.77.1.1", path) == value


def test_a_field_that_the_api_does_not_give_is_refused() -> None:
    with pytest.raises(UnsupportedFieldError, match=r"status\.phase"):
        field_value(POD, "127.77.1.1", "status.phase")


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "1", "1"),
        ("limits.cpu", "1m", "500"),
        ("limits.memory", "1Mi", "4096"),
        ("requests.cpu", "1", "0"),
        ("requests.memory", "1", "134217728"),
    ],
)
def test_resources_are_counted_in_their_divisor_and_rounded_up(
    resource: str, divisor: str, value: str
) -> None:
    container = {"resources": {"limits": {"cpu": "500m"}, "requests": {"memory": "128Mi"}}}
    assert resource_value(container, FACTS.allocatable, resource, divisor) == value


def test_later_variables_see_earlier_ones() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "S_"}, {"secretRef": {"name": "keys"}}],
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "URL", "value": "http://$(IP)/$(S_colour)/$(LATER)"},
            {"name": "LATER", "value": "$(HOME)/later"},
            {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
            {"name": "EMPTY"},
        ],
    }
    assert container_environment(container, FACTS, {"HOME": "/h"}) == {
        "HOME": "/h",
        "S_colour": "green",
        "S_dir": "/data/x",
        "password": "sesame",
        "IP": "127.77.1.1",
        "URL": "http://127.77.1.1/green/$(LATER)",
        "LATER": "/h/later",
        "CORES": "4",
        "PASSWORD": "sesame",
        "EMPTY": "",
    }


def test_only_what_the_pod_says_is_rewritten() -> None:
    container = {"env": [{"name": "HERE", "value": "$(HOME):/data"}]}
    environment = container_environment(
        container, FACTS, {"HOME": "/data/home"}, lambda text: text.replace("/data", "/local")
    )
    assert environment == {"HOME": "/data/home", "HERE": "/data/home:/local"}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "absent"}}]}, "configmap 'absent' not found"),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "pin"}}}]},
            "couldn't find key pin in Secret keys",
        ),
        ({"env": [{"name": "A", "valueFrom": {"fileKeyRef": {}}}]}, "'A' has a source"),
    ],
)
def test_what_is_missing_is_named(container: dict[str, Any], message: str) -> None:
    with pytest.raises(MissingConfigError, match=message):
        container_environment(container, FACTS, {})


def test_what_is_optional_may_be_missing() -> None:
    container = {
        "envFrom": [{"secretRef": {"name": "absent", "optional": True}}],
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "k", "optional": True}}},
            {
                "name": "B",
                "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k", "optional": True}},
            },
        ],
    }
    assert container_environment(container, FACTS, {}) == {}
    assert set(config_refs(container)) == {
        ConfigRef("Secret", "absent", optional=True),
        ConfigRef("ConfigMap", "absent", optional=True),
        ConfigRef("ConfigMap", "settings", optional=True),
    }


def test_secrets_are_decoded() -> None:
    secret = {"kind": "Secret", "data": {"password": base64.b64encode(b"sesame").decode()}}
    assert config_values(secret) == {"password": "sesame"}
    assert config_values({"kind": "ConfigMap", "data": {"a": "b"}}) == {"a": "b"}


SETTINGS = {
    "kind": "ConfigMap",
    "data": {"a": "1", "b": "2"},
    "binaryData": {"c": base64.b64encode(b"\xff").decode()},
}


def test_a_config_map_shows_all_its_keys_or_the_chosen_ones() -> None:
    everything = config_files({"name": "settings", "defaultMode": 0o400}, SETTINGS)
    assert [(file.path, file.content, file.mode) for file in everything] == [
        ("a", b"1", 0o400),
        ("b", b"2", 0o400),
        ("c", b"\xff", 0o400),
    ]
    chosen = config_files(
        {"name": "settings", "items": [{"key": "b", "path": "x/y", "mode": 0o600}]}, SETTINGS
    )
    assert chosen == [ProjectedFile("x/y", b"2", 0o600)]


@pytest.mark.parametrize(
    ("source", "config"),
    [({"name": "absent"}, None), ({"name": "settings", "items": [{"key": "z", "path": "z"}]}, SETTINGS)],
)
def test_a_missing_config_map_or_key_fails_unless_optional(
    source: dict[str, Any], config: dict[str, Any]
) -> None:
    with pytest.raises(MissingConfigError):
        config_files(source, config)
    assert config_files({**source, "optional": True}, config) == []


def test_the_downward_api_as_files() -> None:
    source = {
        "items": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
            {
                "path": "mem",
                "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Gi"},
            },
        ]
    }
    assert [file.content for file in downward_files(source, POD, "127.77.1.1", FACTS.allocatable)] == [
        b"p",
        b"4",
    ]


FILES = st.dictionaries(st.sampled_from(["a", "b", "d/e", "d/f"]), st.binary(max_size=20))


@settings(max_examples=40)
@given(before=FILES, after=FILES)
def test_a_directory_holds_what_was_written_last(
    before: dict[str, bytes], after: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("volume")
    for files in (before, after):
        write_files(directory, [ProjectedFile(path, content) for path, content in files.items()])
    present = {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
    assert present == after


def test_a_file_that_did_not_change_is_left_alone(tmp_path: Path) -> None:
    write_files(tmp_path, [ProjectedFile("a", b"1"), ProjectedFile("b", b"2")])
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    write_files(tmp_path, [ProjectedFile("a", b"1"), ProjectedFile("b", b"3", 0o400)])
    after = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o400
