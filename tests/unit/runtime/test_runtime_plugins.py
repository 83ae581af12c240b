"""Libraries with further providers: found, registered, and said where they are refused."""

from pathlib import Path

from fleetfit_runtime.engine.plugins import (
    PluginLibrary,
    configured_libraries,
    installed_libraries,
    plugin_distributions,
    register_libraries,
)
from fleetfit_runtime.engine.session import OnnxRuntime


def test_settings_name_libraries() -> None:
    assert configured_libraries(["qnn=/lib/qnn.so", "/lib/other.so"]) == [
        PluginLibrary("qnn", "/lib/qnn.so"),
        PluginLibrary("other", "/lib/other.so"),
    ]


def test_no_package_of_the_tests_brings_a_library() -> None:
    assert list(installed_libraries()) == []


def test_packages_that_are_called_like_plugins_are_found_by_their_folders(tmp_path: Path) -> None:
    for name in ("onnxruntime_ep_card", "onnxruntime_qnn", "onnxruntime", "onnxruntime_extensions"):
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: 1.0\n")
    folders = [str(tmp_path / "nothing"), str(tmp_path)]
    found = [distribution.metadata["Name"] for distribution in plugin_distributions(folders)]
    assert found == ["onnxruntime-ep-card", "onnxruntime-qnn"]


def test_library_that_is_refused_is_said_and_ends_nothing(tmp_path: Path) -> None:
    library = tmp_path / "broken.so"
    library.write_bytes(b"no library")
    report = register_libraries([PluginLibrary("broken", str(library))])
    assert report.registered == ()
    assert report.sentences[0].startswith("plugin library broken was not registered: ")
    assert "CPUExecutionProvider" in OnnxRuntime(["CPUExecutionProvider"], 1, plugins=report).available


def test_library_is_registered_once_and_one_that_already_is_counts() -> None:
    taken: list[str] = []

    def register(name: str, _path: str) -> None:
        taken.append(name)
        if name == "b":
            raise RuntimeError("library is already registered")

    report = register_libraries([PluginLibrary(name, "p") for name in ("a", "a", "b")], register)
    assert taken == ["a", "b"]
    assert [each.name for each in report.registered] == ["a", "b"]


def test_versions_tell_libraries_apart(tmp_path: Path) -> None:
    path = tmp_path / "own.so"
    path.write_bytes(b"one")
    libraries = [
        PluginLibrary("qnn", "p", "2.1"),
        PluginLibrary("own", str(path)),
        PluginLibrary("gone", "gone.so"),
    ]
    report = register_libraries(libraries, lambda _name, _path: None)
    before = report.library_versions
    assert before[0] == "qnn 2.1"
    assert before[2] == "gone"
    path.write_bytes(b"another")
    assert report.library_versions[1] != before[1]
    assert report.library_versions[::2] == before[::2]
