"""Files that a volume shows: which contents under which names. Pure, but for `write_files`.

Every file is replaced as a whole and only when its content changed. The set of files is not switched at once as the
kubelet does by a symbolic link; readers of one file never see half of it.
"""

import base64
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from localfleet.node.environment import MissingConfigError
from localfleet.node.fields import field_value, resource_value
from localfleet.node.manifest import Manifest, all_containers

_DEFAULT_MODE = 0o644


@dataclass(frozen=True)
class ProjectedFile:
    """A file of a volume."""

    path: str
    content: bytes
    mode: int = _DEFAULT_MODE


def config_files(
    source: Manifest, config: Manifest | None, default_mode: int = _DEFAULT_MODE
) -> list[ProjectedFile]:
    """Return the files of a config map or secret source.

    Args:
        source: The volume's `configMap` or `secret`, or the same inside a projected volume.
        config: The config map or secret, None where it does not exist.
        default_mode: Mode of files that state none.

    Raises:
        MissingConfigError: it or one of its keys does not exist and is not optional.
    """
    name = source.get("name") or source.get("secretName")
    if config is None:
        if source.get("optional"):
            return []
        raise MissingConfigError(f"{name!r} not found")
    contents = _contents(config)
    mode = source.get("defaultMode") or default_mode
    if not source.get("items"):
        return [ProjectedFile(key, content, mode) for key, content in sorted(contents.items())]
    files = []
    for item in source["items"]:
        if item["key"] in contents:
            files.append(ProjectedFile(item["path"], contents[item["key"]], item.get("mode") or mode))
        elif not source.get("optional"):
            raise MissingConfigError(f"{name!r} has no key {item['key']!r}")
    return files


def downward_files(
    source: Manifest, pod: Manifest, host_ip: str, allocatable: Mapping[str, str]
) -> list[ProjectedFile]:
    """Return the files of a downward API source."""
    containers = {container["name"]: container for container in all_containers(pod)}
    files = []
    for item in source.get("items") or []:
        if reference := item.get("fieldRef"):
            value = field_value(pod, host_ip, reference["fieldPath"])
        else:
            reference = item["resourceFieldRef"]
            container = containers.get(reference.get("containerName", ""), {})
            value = resource_value(
                container, allocatable, reference["resource"], reference.get("divisor") or 1
            )
        files.append(ProjectedFile(item["path"], value.encode(), item.get("mode") or _DEFAULT_MODE))
    return files


def write_files(directory: Path, files: list[ProjectedFile]) -> None:
    """Make a directory hold exactly these files; files with the wanted content are left alone."""
    wanted = {str(PurePosixPath(file.path)): file for file in files}
    directory.mkdir(parents=True, exist_ok=True)
    for path, file in wanted.items():
        _write(directory / path, file)
    for present in list(_present(directory)):
        if str(present.relative_to(directory)) not in wanted:
            with contextlib.suppress(FileNotFoundError):
                present.unlink()


def _write(target: Path, file: ProjectedFile) -> None:
    with contextlib.suppress(FileNotFoundError):
        if target.read_bytes() == file.content:
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(file.content)
    partial.chmod(file.mode)
    partial.replace(target)


def _present(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if not path.is_dir())


def _contents(config: Manifest) -> dict[str, bytes]:
    if config.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in (config.get("data") or {}).items()}
    texts = {key: value.encode() for key, value in (config.get("data") or {}).items()}
    binaries = {key: base64.b64decode(value) for key, value in (config.get("binaryData") or {}).items()}
    return texts | binaries
