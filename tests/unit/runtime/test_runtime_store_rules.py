"""The store's rules without a disk or a network: which files go, what URIs name, what may be shown."""

import subprocess
import sys
from pathlib import Path

import pytest
from fleetfit_api.reasons import Reason
from fleetfit_runtime.failure import ModelFailure
from fleetfit_runtime.store.clouds import (
    CLOUDS,
    ObjectPlace,
    check_config,
    is_blob_url,
    object_place,
    store_config,
)
from fleetfit_runtime.store.credentials import Login, Secret
from fleetfit_runtime.store.disk_budget import FREE_RESERVE_BYTES, DiskBudget, StoredFile, superfluous
from fleetfit_runtime.store.model_files import DataFile, WantedModel
from fleetfit_runtime.store.oci_reference import oci_reference
from fleetfit_runtime.store.source import Wanted
from fleetfit_runtime.store.uri import redacted
from hypothesis import given
from hypothesis import strategies as st

FILES = st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 1e6)).map(list), max_size=12).map(
    lambda rows: [StoredFile(Path(f"{index}"), size, used) for index, (size, used) in enumerate(rows)]
)


@given(FILES, st.integers(-10, 5000))
def test_least_recently_used_go_and_no_more_than_it_takes(files: list[StoredFile], excess: int) -> None:
    gone = superfluous(files, excess)
    by_path = {file.path: file for file in files}
    going = [by_path[path] for path in gone]
    staying = [file for file in files if file.path not in gone]
    freed = sum(file.size_bytes for file in going)
    assert freed >= excess or not staying
    assert sum(file.size_bytes for file in going[:-1]) < max(excess, 1)
    assert all(one.used_s <= other.used_s for one in going for other in staying)


@pytest.mark.parametrize(
    ("max_bytes", "free_bytes", "lacking", "spare"),
    [
        (None, 1000 + FREE_RESERVE_BYTES, 0, 250 - 1000 - FREE_RESERVE_BYTES),
        (None, 0, 1000 + FREE_RESERVE_BYTES, 250),
        (1200, 1 << 40, 300, -700),
        (400, 1 << 40, 1100, 100),
    ],
)
def test_budget_is_the_smaller_of_the_disk_and_the_setting(
    max_bytes: int | None, free_bytes: int, lacking: int, spare: int
) -> None:
    budget = DiskBudget(max_bytes, free_bytes=lambda _path: free_bytes, capacity_bytes=lambda _path: 1000)
    assert budget.lacking_bytes(Path(), 500, 1000) == lacking
    assert budget.lacking_spare_bytes(Path(), 500) == spare


def test_budget_that_is_full_of_needed_files_is_said() -> None:
    budget = DiskBudget(1200, free_bytes=lambda _path: 1 << 40)
    with pytest.raises(ModelFailure, match="budget lacks 300 bytes") as caught:
        budget.check(Path(), 500, 1000)
    assert (caught.value.reason, caught.value.transient) == (Reason.DISK_FULL, True)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("oci://r.example/a/b", ("r.example", "a/b", "latest", "")),
        ("oci://r.example:5000/a/b:v1", ("r.example:5000", "a/b", "v1", "")),
        ("oci://[::1]:5000/a:v1/deep/m%20x.onnx", ("[::1]:5000", "a", "v1", "deep/m x.onnx")),
        (f"oci://r/a@sha256:{'0' * 64}/m", ("r", "a", f"sha256:{'0' * 64}", "m")),
    ],
)
def test_reference_has_its_parts(uri: str, parts: tuple[str, ...]) -> None:
    found = oci_reference(uri)
    assert (found.registry, found.repository, found.version, found.file) == parts


@pytest.mark.parametrize(
    "uri",
    ["oci://", "oci://r", "oci://r/A", "oci://r/../a:v1", "oci://r/a:v1?x", "oci://r/a:", "oci://u@r/a:v1"],
)
def test_what_is_no_reference_is_refused(uri: str) -> None:
    with pytest.raises(ModelFailure) as caught:
        oci_reference(uri)
    assert (caught.value.reason, caught.value.transient) == (Reason.UNSUPPORTED_URI, False)


def test_only_registries_of_this_machine_are_asked_without_encryption() -> None:
    local = ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"]
    assert all(oci_reference(f"oci://{host}/a:v1").is_local for host in local)
    others = ["localhost.example", "10.0.0.1:5000", "127.0.0.1.example", "docker.io"]
    assert not any(oci_reference(f"oci://{host}/a:v1").is_local for host in others)


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("s3://b/deep/m%20x.onnx", ObjectPlace("s3", "b", "deep/m x.onnx")),
        ("gs://b/m", ObjectPlace("gs", "b", "m")),
        ("azure://c/m", ObjectPlace("azure", "c", "m")),
        ("https://acc.blob.core.windows.net/c/deep/m", ObjectPlace("azure", "c", "deep/m", "acc")),
    ],
)
def test_object_has_its_place(uri: str, place: ObjectPlace) -> None:
    assert object_place(uri) == place


def test_signed_blob_url_is_fetched_as_it_is() -> None:
    assert is_blob_url("https://acc.blob.core.windows.net/c/m")
    assert not is_blob_url("https://acc.blob.core.windows.net/c/m?sig=x")
    assert not is_blob_url("https://acc.blob.core.windows.net.example/c/m")


def test_store_is_asked_as_anyone_unless_something_says_who_asks() -> None:
    place, cloud = ObjectPlace("s3", "b", "m"), CLOUDS["s3"]
    assert store_config(place, cloud, {}, {})["aws_skip_signature"] == "true"
    assert "aws_skip_signature" not in store_config(place, cloud, {}, {"AWS_ACCESS_KEY_ID": "x"})
    assert "aws_skip_signature" not in store_config(place, cloud, {"AWS_ACCESS_KEY_ID": "x"}, {})
    config = store_config(place, cloud, {"AWS_SKIP_SIGNATURE": "false"}, {})
    assert config == {"aws_skip_signature": "false"}


def test_plain_http_needs_an_address_that_says_so() -> None:
    place, cloud = ObjectPlace("s3", "b", "m"), CLOUDS["s3"]
    assert "allow_http" not in store_config(place, cloud, {"AWS_ENDPOINT_URL": "https://s3.example"}, {})
    assert store_config(place, cloud, {}, {"AWS_ENDPOINT_URL": "http://s3"})["allow_http"] == "true"


@pytest.mark.parametrize(
    ("values", "environment"),
    [
        ({"AWS_ENDPOINT_URL": "not a url"}, {}),
        ({"AWS_ENDPOINT_URL": "ftp://host"}, {}),
        ({}, {"AWS_ENDPOINT_URL": "https://"}),
        ({"AWS_ACCESS_KEY_ID": "two\nlines"}, {}),
    ],
)
def test_value_that_the_library_would_die_of_is_told_but_not_shown(
    values: dict[str, str], environment: dict[str, str]
) -> None:
    config = store_config(ObjectPlace("s3", "b", "m"), CLOUDS["s3"], values, environment)
    with pytest.raises(ModelFailure) as caught:
        check_config("s3://b/m", CLOUDS["s3"], config, environment)
    assert (caught.value.reason, caught.value.transient) == (Reason.UNREACHABLE_SOURCE, True)
    ((key, value),) = [*values.items(), *environment.items()]
    assert key in caught.value.message
    assert value not in caught.value.message


@pytest.mark.parametrize(
    "uri", ["s3://b", "s3://b/", "s3:///m", "s3://b/a//m", "s3://b/../m", "s3://b/%2e%2e/m"]
)
def test_object_without_a_proper_name_is_refused(uri: str) -> None:
    with pytest.raises(ModelFailure) as caught:
        object_place(uri)
    assert (caught.value.reason, caught.value.transient) == (Reason.UNSUPPORTED_URI, False)


@pytest.mark.parametrize(
    ("prefix", "uri", "fits"),
    [
        ("", "s3://a/b", True),
        ("s3://models", "s3://models/a", True),
        ("s3://models/", "s3://models/a", True),
        ("s3://models", "s3://models", True),
        ("s3://models", "s3://models-of-others/a", False),
        ("https://host", "https://host.evil.example/a", False),
        ("https://host", "https://host:8443/a", False),
        ("https://host", "https://host@evil.example/a", False),
    ],
)
def test_prefix_of_a_secret_ends_at_a_part_of_the_path(prefix: str, uri: str, fits: bool) -> None:
    assert Secret(prefix, {}).fits(uri) is fits


def test_credentials_have_no_readable_form() -> None:
    assert "hidden" not in repr(Secret("", {"AWS_SECRET_ACCESS_KEY": "hidden"}))
    assert "hidden" not in repr(Login("user", "hidden"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/a?sig=x", "https://h/a?..."),
        ("GET https://u:p@h/a?sig=x failed", "GET https://h/a?... failed"),
        ("file:///a?b", "file:///a?..."),
        ("why? because", "why? because"),
    ],
)
def test_queries_and_users_are_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_set_of_files_is_named_by_which_file_has_which_name() -> None:
    def model(*data: tuple[str, str]) -> WantedModel:
        files = tuple(DataFile(name, Wanted("file:///x", sha256, 1)) for name, sha256 in data)
        return WantedModel(Wanted("file:///g", "0" * 64, 1), files)

    one, other = ("a", "1" * 64), ("b", "2" * 64)
    assert model(one, other).set_name == model(other, one).set_name
    names = {model(one).set_name, model(("a", "2" * 64)).set_name, model(("b", "1" * 64)).set_name}
    assert len(names) == 3
    assert model().set_name == ""
    assert model(one).digests == {"0" * 64, "1" * 64, model(one).set_name}


def test_start_does_not_wait_for_libraries_that_come_later() -> None:
    code = (
        "import sys, fleetfit_runtime.app\n"
        "late = ['aiohttp', 'cryptography', 'fleetfit_api.suite', 'obstore', 'prometheus_client']\n"
        "assert not set(late) & set(sys.modules), set(late) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
