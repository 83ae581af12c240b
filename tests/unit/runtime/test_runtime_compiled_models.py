"""What providers compile of models: kept for the next load, thrown away for what it depends on, never in the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleetfit_runtime.agent.crash_book import crashed_loads
from fleetfit_runtime.engine.compiled_models import (
    COMPILING,
    OPENVINO,
    QNN,
    TENSORRT,
    CompiledModels,
    CompiledPlace,
)
from fleetfit_runtime.engine.flight_record import Mark, Suspect
from fleetfit_runtime.store.blobs import BlobStore
from fleetfit_runtime.store.disk_budget import DiskBudget
from fleetfit_runtime.store.sealed_folder import SealedFolder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CPU = "CPUExecutionProvider"
MODEL = "a" * 64


def store_in(directory: Path, max_bytes: int | None = None) -> BlobStore:
    store = BlobStore(directory, DiskBudget(max_bytes, spare_share=0.0))
    store.open()
    return store


def place_in(
    store: BlobStore,
    provider: str = OPENVINO,
    versions: tuple[str, ...] = ("qnn 1",),
    driver: str = "nvidia 550",
    model: str = MODEL,
    **options: str,
) -> CompiledPlace:
    place = CompiledModels(store, versions, lambda: driver).place(model, provider, options, 10)
    assert place is not None
    return place


def compiled(place: CompiledPlace, name: str = "blob", content: bytes = b"compiled") -> Path:
    """Write what a provider writes, and keep it."""
    path = place.folder.directory / name
    path.write_bytes(content)
    place.keep()
    return path


def test_what_was_kept_is_there_for_the_next_load(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    path = compiled(place_in(store))
    assert place_in(store).folder.was_whole
    assert path.read_bytes() == b"compiled"


def test_what_was_not_kept_begins_anew(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    path = place_in(store).folder.directory / "half"
    path.write_bytes(b"half")
    assert not place_in(store).folder.was_whole
    assert not path.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"driver": "nvidia 560"},
        {"versions": ("qnn 2",)},
        {"versions": ()},
        {"load_config": "2 threads"},
    ],
    ids=str,
)
def test_another_driver_version_or_option_starts_anew_and_the_old_goes(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    store = store_in(tmp_path)
    before = compiled(place_in(store))
    after = place_in(store, **change)
    assert not after.folder.was_whole
    assert after.folder.directory != before.parent
    assert place_in(store).folder.was_whole, "nothing was loaded with the other one yet"
    path = compiled(after)
    assert path.exists()
    assert not before.exists()
    assert len(list(store.compiled_path(MODEL).iterdir())) == 2, "a folder and its seal"


def test_models_and_providers_have_places_of_their_own(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    paths = [
        compiled(place_in(store, provider, model=model))
        for provider in sorted(COMPILING)
        for model in (MODEL, "b" * 64)
    ]
    assert len({path.parent for path in paths}) == 6
    assert all(path.exists() for path in paths)


def test_provider_that_compiles_nothing_has_no_place(tmp_path: Path) -> None:
    assert CompiledModels(store_in(tmp_path), (), str).place(MODEL, CPU, {}, 10) is None
    assert not (tmp_path / "compiled").exists()


def test_options_name_the_place(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    tensorrt = place_in(store, TENSORRT)
    directory = str(tensorrt.folder.directory)
    assert tensorrt.provider_options == {
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": directory,
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": directory,
    }
    openvino = place_in(store, OPENVINO)
    assert openvino.provider_options == {"cache_dir": str(openvino.folder.directory)}
    assert (tensorrt.session_entries, openvino.session_entries) == ({}, {})
    assert (tensorrt.compiled_model, openvino.compiled_model) == (None, None)


def test_qnn_writes_a_context_once_and_then_loads_it(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    first = place_in(store, QNN)
    context = first.folder.directory / "model_ctx.onnx"
    assert first.provider_options == {}
    assert first.session_entries == {
        "ep.context_enable": "1",
        "ep.context_embed_mode": "0",
        "ep.context_file_path": str(context),
    }
    assert first.compiled_model is None
    compiled(first, context.name)
    second = place_in(store, QNN)
    assert (second.session_entries, second.compiled_model) == ({}, context)


NAMES = st.sampled_from(["a", "b", "sub/c"])
FILES = st.dictionaries(NAMES, st.binary(max_size=20), max_size=3)


def write(directory: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES, FILES)
def test_folder_counts_only_as_it_was_sealed(
    tmp_path_factory: pytest.TempPathFactory, sealed: dict[str, bytes], found: dict[str, bytes]
) -> None:
    directory = tmp_path_factory.mktemp("sealed") / "folder"
    folder = SealedFolder(directory)
    folder.open()
    write(directory, sealed)
    folder.seal()
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    write(directory, found)
    again = SealedFolder(directory)
    again.open()
    assert again.was_whole == (found == sealed)
    left = {path for path in directory.rglob("*") if path.is_file()}
    assert len(left) == (len(found) if found == sealed else 0)


def test_folder_may_grow_between_loads(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    compiled(place_in(store))
    more = compiled(place_in(store), "another-shape")
    assert place_in(store).folder.was_whole
    assert more.exists()


def test_provider_that_compiles_anew_what_it_should_have_found_keeps_nothing_more(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    path = compiled(place_in(store))
    again = place_in(store)
    compiled(again, content=b"compiled anew")
    assert not path.exists()
    for _ in range(2):
        assert CompiledModels(store, ("qnn 1",), lambda: "nvidia 550").place(MODEL, OPENVINO, {}, 10) is None
    assert not place_in(store, driver="nvidia 560").folder.was_whole, "another driver is tried"


def test_compiled_models_count_in_the_store_and_go_with_the_model(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.path(MODEL).write_bytes(bytes(10))
    compiled(place_in(store), content=bytes(1000))
    seal_bytes = sum(path.stat().st_size for path in store.compiled_path(MODEL).glob("*.json"))
    assert store.size_bytes() == 1010 + seal_bytes
    assert store.discard_unneeded([MODEL]) == []
    assert place_in(store).folder.was_whole
    assert store.discard_unneeded([]) == [], "the model itself may stay, there is room"
    store.empty_trash()
    assert not store.compiled_path(MODEL).exists()
    assert store.size_bytes() == 10


def test_what_can_be_compiled_again_makes_room_for_what_is_needed(tmp_path: Path) -> None:
    store = store_in(tmp_path, max_bytes=2000)
    for digest in (MODEL, "b" * 64):
        store.path(digest).write_bytes(bytes(500))
    store.need([MODEL])
    compiled(place_in(store), content=bytes(500))
    store.make_room(700)
    assert (store.has(MODEL), store.has("b" * 64), store.compiled_path(MODEL).exists()) == (True, False, True)
    store.make_room(1400)
    assert (store.has(MODEL), store.compiled_path(MODEL).exists()) == (True, False)
    store.check_space(1400)


def test_full_budget_is_left_alone_unless_the_model_is_compiled_already(tmp_path: Path) -> None:
    models = CompiledModels(store_in(tmp_path, max_bytes=1000), (), str)
    assert models.place(MODEL, OPENVINO, {}, 1001) is None
    place = models.place(MODEL, OPENVINO, {}, 900)
    assert place is not None
    compiled(place, content=bytes(900))
    assert models.place(MODEL, OPENVINO, {}, 900) is not None


def file_in_the_way(store: Path) -> None:
    (store / "compiled").write_bytes(b"")


def model_in_the_way(store: Path) -> None:
    (store / "compiled").mkdir()
    (store / "compiled" / MODEL).write_bytes(b"")


@pytest.mark.parametrize("break_", [file_in_the_way, model_in_the_way])
def test_disk_that_refuses_keeps_nothing_and_says_so_once(
    tmp_path: Path, break_: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(tmp_path)
    break_(tmp_path)
    assert CompiledModels(store, (), str).place(MODEL, OPENVINO, {}, 10) is None
    assert caplog.messages == ["compiled model is not kept"]
    store.discard_compiled([MODEL])


def test_place_that_vanishes_during_a_load_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(tmp_path)
    place = place_in(store)
    store.discard_compiled([MODEL])
    place.keep()
    assert caplog.messages == ["compiled model cannot be kept"]
    assert not place_in(store).folder.was_whole


def test_only_a_load_that_crashed_is_compiled_anew(tmp_path: Path) -> None:
    suspects = [
        Suspect(f"{MODEL}@2026-01-01", Mark.LOADING),
        Suspect("b@", Mark.RUNNING),
        Suspect("c@", Mark.HANGING),
    ]
    assert crashed_loads(suspects) == [MODEL]
    store = store_in(tmp_path)
    compiled(place_in(store))
    compiled(place_in(store, model="b"))
    store.discard_compiled(crashed_loads(suspects))
    assert not place_in(store).folder.was_whole
    assert place_in(store, model="b").folder.was_whole
