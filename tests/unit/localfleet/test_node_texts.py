"""Expansion of variables, images and mount paths: the texts of a container's manifest."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfleet.node.expansion import expand
from localfleet.node.images import UnknownImageError, image_repository, resolve_image
from localfleet.node.paths import PathRewriter
from localfleet.node.pod_volumes import path_within

REWRITER_ROOT = Path("/no-such-node/rootfs")
TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)


# The API's own cases, from the documentation of container arguments and its expansion package.
@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "one"),
        ("x$(A)y$(B)z", "xoneytwoz"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$$$$(A)", "$$(A)"),
        ("$(MISSING)", "$(MISSING)"),
        ("$A", "$A"),
        ("$", "$"),
        ("$$", "$"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$(A)$", "one$"),
        ("$(B)$(A)", "twoone"),
    ],
)
def test_references_are_expanded_as_the_api_says(text: str, expanded: str) -> None:
    assert expand(text, {"A": "one", "B": "two"}) == expanded


@given(TEXTS)
def test_a_text_without_a_dollar_is_left_alone(text: str) -> None:
    plain = text.replace("$", "")
    assert expand(plain, {"A": "one"}) == plain


@given(TEXTS)
def test_an_escaped_text_expands_to_itself(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"A": "one"}) == text


@given(value=TEXTS)
def test_a_value_is_not_expanded_again(value: str) -> None:
    assert expand("$(A)", {"A": value, "B": "two"}) == value


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        ("fleetfit/runtime", "fleetfit/runtime"),
        ("fleetfit/runtime:0.1.0", "fleetfit/runtime"),
        ("fleetfit/runtime@sha256:abc", "fleetfit/runtime"),
        ("registry.test:5000/fleetfit/runtime:1@sha256:abc", "registry.test:5000/fleetfit/runtime"),
        ("registry.test:5000/runtime", "registry.test:5000/runtime"),
    ],
)
def test_the_repository_is_the_image_without_tag_and_digest(image: str, repository: str) -> None:
    assert image_repository(image) == repository


def test_a_registry_in_front_makes_no_difference() -> None:
    commands = {"fleetfit/runtime": ("python", "-m", "runtime"), "runtime": ("other",)}
    assert resolve_image("registry.test:5000/fleetfit/runtime:1", commands) == ["python", "-m", "runtime"]


def test_an_unknown_image_is_named_and_so_is_what_is_known() -> None:
    with pytest.raises(
        UnknownImageError, match=r"'nginx:1'; this node knows fleetfit/operator, fleetfit/runtime"
    ):
        resolve_image("nginx:1", {"fleetfit/runtime": ("a",), "fleetfit/operator": ("b",)})


REWRITER = PathRewriter(
    {"/data": "/n/rootfs/data", "/data/models": "/n/volumes/m", "/etc/app/": "/n/volumes/c"}
)


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/data", "/n/rootfs/data"),
        ("/data/x.onnx", "/n/rootfs/data/x.onnx"),
        ("/data/models/x.onnx", "/n/volumes/m/x.onnx"),
        ("/data/modelsx", "/n/rootfs/data/modelsx"),
        ("/database", "/database"),
        ("/data.old", "/data.old"),
        ("/srv/data", "/srv/data"),
        ("--dir=/data --conf=/etc/app/a.yaml", "--dir=/n/rootfs/data --conf=/n/volumes/c/a.yaml"),
        ("/data:/etc/app", "/n/rootfs/data:/n/volumes/c"),
        ("file:///data/m.onnx", "file:///n/rootfs/data/m.onnx"),
        ("http://host/data/m.onnx", "http://host/data/m.onnx"),
        ("metadata", "metadata"),
    ],
)
def test_mount_paths_become_local_ones_where_a_path_begins(text: str, rewritten: str) -> None:
    assert REWRITER.rewrite(text) == rewritten


@given(TEXTS.filter(lambda text: "/" not in text))
def test_what_is_no_path_is_left_alone(text: str) -> None:
    assert REWRITER.rewrite(text) == text


def test_without_mounts_nothing_changes() -> None:
    assert PathRewriter({}).rewrite("/data") == "/data"


@given(st.text("/.ab", max_size=20))
def test_no_host_path_leads_out_of_the_nodes_root(host_path: str) -> None:
    root = REWRITER_ROOT
    assert path_within(root, host_path).resolve().is_relative_to(root)


def test_a_host_path_lies_under_the_nodes_root() -> None:
    assert path_within(REWRITER_ROOT, "/var/lib/fleetfit") == REWRITER_ROOT / "var/lib/fleetfit"
