"""A pod's volumes as local directories, and what its containers find where."""

from pathlib import Path
from typing import Final

from fleetfit_kube.client import ApiClient
from fleetfit_kube.config import SERVICE_ACCOUNT_DIR
from fleetfit_kube.errors import NotFound
from fleetfit_kube.resources import CONFIG_MAPS, SECRETS

from localfleet.node.expansion import expand
from localfleet.node.manifest import Manifest, pod_uid
from localfleet.node.node_context import NodeContext
from localfleet.node.paths import PathRewriter
from localfleet.node.projection import ProjectedFile, config_files, downward_files, write_files
from localfleet.node.service_tokens import ServiceTokens

_CREATED_HOST_PATHS: Final = ("", "DirectoryOrCreate")


class VolumeError(Exception):
    """A volume cannot be had now; the message says why."""


class PodVolumes:
    """The volumes of one pod.

    Read-only mounts are not enforced, for processes of one user share one file system.
    """

    def __init__(self, node: NodeContext, client: ApiClient, pod: Manifest) -> None:
        self._node = node
        self._client = client
        self._tokens = ServiceTokens(client, node.clock)
        self._volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
        self._directory = node.pod_dir(pod_uid(pod)) / "volumes"

    async def refresh(self, pod: Manifest) -> None:
        """Create what is missing and bring projected files up to date.

        Raises:
            VolumeError: a volume's kind is not one that a process node has, or its path is not there.
            MissingConfigError: a config map or secret does not exist.
            ApiError: the API server does not answer.
        """
        for volume in self._volumes.values():
            files = await self._files(volume, pod)
            if files is None:
                self._make_directory(volume)
            else:
                write_files(self.directory(volume["name"]), files)

    def directory(self, volume_name: str) -> Path:
        """Return the local path of a volume."""
        volume = self._volumes[volume_name]
        if "hostPath" in volume:
            return path_within(self._node.root_dir, volume["hostPath"]["path"])
        return self._directory / volume_name

    def rewriter(self, container: Manifest, variables: dict[str, str] | None = None) -> PathRewriter:
        """Return what turns the container's mount paths into local ones."""
        local_by_mount = {}
        for mount in container.get("volumeMounts") or []:
            sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables or {})
            target = self.directory(mount["name"])
            if sub_path:
                target /= sub_path
                if not target.exists():
                    target.mkdir(parents=True, exist_ok=True)
            local_by_mount[mount["mountPath"]] = str(target)
        return PathRewriter(local_by_mount)

    def service_account_dir(self, container: Manifest) -> str | None:
        """Return where the container finds its service account, if it has one."""
        return self.rewriter(container).local(SERVICE_ACCOUNT_DIR)

    def _make_directory(self, volume: Manifest) -> None:
        target = self.directory(volume["name"])
        kind = (volume.get("hostPath") or {}).get("type") or ""
        if "emptyDir" in volume or kind in _CREATED_HOST_PATHS:
            target.mkdir(parents=True, exist_ok=True)
        elif kind == "FileOrCreate":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        elif not target.exists():
            path = volume["hostPath"]["path"]
            raise VolumeError(
                f"hostPath type check failed: {path} is not a {kind} under this node's root {target}"
            )

    async def _files(self, volume: Manifest, pod: Manifest) -> list[ProjectedFile] | None:
        """Return the files of a volume, None for one that pods write to."""
        if "emptyDir" in volume or "hostPath" in volume:
            return None
        for kind in ("configMap", "secret", "downwardAPI"):
            if kind in volume:
                return await self._source_files({kind: volume[kind]}, pod)
        if "projected" in volume:
            files = []
            for source in volume["projected"].get("sources") or []:
                files += await self._source_files(source, pod)
            return files
        kinds = ", ".join(sorted(set(volume) - {"name"}))
        raise VolumeError(f"a process node has no volumes of kind {kinds}")

    async def _source_files(self, source: Manifest, pod: Manifest) -> list[ProjectedFile]:
        namespace = pod["metadata"]["namespace"]
        if config_map := source.get("configMap"):
            return config_files(config_map, await self._config("ConfigMap", namespace, config_map["name"]))
        if secret := source.get("secret"):
            name = secret.get("secretName") or secret.get("name")
            return config_files(secret, await self._config("Secret", namespace, name))
        if token := source.get("serviceAccountToken"):
            value = await self._tokens.token(pod, token)
            return [ProjectedFile(token["path"], value.encode(), 0o600)]
        if downward := source.get("downwardAPI"):
            return downward_files(downward, pod, self._node.config.address, self._node.allocatable)
        raise VolumeError(f"a process node has no volume source of kind {', '.join(sorted(source))}")

    async def _config(self, kind: str, namespace: str, name: str) -> Manifest | None:
        resource = SECRETS if kind == "Secret" else CONFIG_MAPS
        try:
            return {**await self._client.get(resource, name, namespace), "kind": kind}
        except NotFound:
            return None


def path_within(root: Path, host_path: str) -> Path:
    """Return where a path of the node lies under the node's root; no path leads out of it."""
    return root.joinpath(*(part for part in host_path.split("/") if part not in {"", ".", ".."}))
