"""From a container's manifest to the process to start: command, arguments, environment, working directory."""

import os
import shutil
import sys
from pathlib import Path

from fleetfit_kube.client import ApiClient
from fleetfit_kube.errors import ApiError, NotFound
from fleetfit_kube.resources import CONFIG_MAPS, SECRETS

from localfleet.node.child_process import Launch
from localfleet.node.cpu_limit import UNLIMITED, CpuLimit
from localfleet.node.environment import (
    MissingConfigError,
    PodFacts,
    config_refs,
    config_values,
    container_environment,
)
from localfleet.node.expansion import expand
from localfleet.node.fields import UnsupportedFieldError
from localfleet.node.images import UnknownImageError, resolve_image
from localfleet.node.manifest import Manifest, pod_uid
from localfleet.node.node_context import NodeContext
from localfleet.node.paths import PathRewriter
from localfleet.node.pod_volumes import PodVolumes
from localfleet.node_config import NODE_MARKER_ENV, UNLIMITED_ANNOTATION

POD_MARKER_ENV = "LOCALFLEET_POD"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CannotLaunchError(Exception):
    """The container cannot start now; the reason is one that a kubelet gives.

    Attributes:
        reason: Reason of the container's waiting state.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ContainerLauncher:
    """Prepares the processes of one pod's containers."""

    def __init__(self, node: NodeContext, client: ApiClient, volumes: PodVolumes) -> None:
        self._node = node
        self._client = client
        self._volumes = volumes
        self._last_config: dict[tuple[str, str], dict[str, str]] = {}

    async def prepare(self, pod: Manifest, container: Manifest, log_file: Path) -> Launch:
        """Return the process to start.

        Raises:
            CannotLaunchError: the image is unknown, or something that the environment refers to is missing.
        """
        try:
            image_command = resolve_image(container["image"], self._node.config.images)
            facts = await self._facts(pod, container)
            inherited = self._inherited(pod, container)
            rewriter = self._volumes.rewriter(container, inherited)
            environment = container_environment(container, facts, inherited, rewriter.rewrite)
        except UnknownImageError as error:
            raise CannotLaunchError("ErrImagePull", str(error)) from error
        except (MissingConfigError, UnsupportedFieldError, ApiError) as error:
            raise CannotLaunchError("CreateContainerConfigError", str(error)) from error

        def resolved(words: list[str]) -> list[str]:
            return [expand(rewriter.rewrite(word), environment) for word in words]

        command = resolved(container.get("command") or []) or image_command
        argv = [*command, *resolved(container.get("args") or [])]
        executable = shutil.which(argv[0], path=environment.get("PATH")) if argv else None
        if executable is None:
            what = (
                f"exec: {argv[0]!r}: executable file not found in $PATH" if argv else "no command specified"
            )
            raise CannotLaunchError("RunContainerError", what)
        directory = self._working_dir(container, rewriter) or self._directory(pod, container)
        return Launch(
            (executable, *argv[1:]), environment, directory, log_file, self._cpu_limit(pod), rewriter.rewrite
        )

    def _cpu_limit(self, pod: Manifest) -> CpuLimit:
        """Return what slows the pod down; a cluster's own workloads run on better machines than the edge has."""
        annotations = pod["metadata"].get("annotations") or {}
        return UNLIMITED if annotations.get(UNLIMITED_ANNOTATION) == "true" else self._node.cpu_limit

    def _working_dir(self, container: Manifest, rewriter: PathRewriter) -> Path | None:
        """Return the container's own working directory if it is on a volume; an image's does not exist here."""
        wanted = str(container.get("workingDir") or "")
        local = rewriter.rewrite(wanted)
        return Path(local) if local != wanted and Path(local).is_dir() else None

    def _directory(self, pod: Manifest, container: Manifest) -> Path:
        directory = self._node.pod_dir(pod_uid(pod)) / "containers" / str(container["name"])
        (directory / "tmp").mkdir(parents=True, exist_ok=True)
        return directory

    def _inherited(self, pod: Manifest, container: Manifest) -> dict[str, str]:
        """Return what every container has: nothing of the agent's own environment."""
        directory = self._directory(pod, container)
        config = self._node.config
        mark, _, value = self._node.mark.partition("=")
        variables = {
            "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
            "HOME": str(directory),
            "TMPDIR": str(directory / "tmp"),
            "LANG": "C.UTF-8",
            "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
            "PYTHONUNBUFFERED": "1",
            "KUBERNETES_SERVICE_HOST": config.address,
            "KUBERNETES_SERVICE_PORT": str(config.proxy_port),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(config.proxy_port),
            NODE_MARKER_ENV: str(config.state_dir),
            POD_MARKER_ENV: pod_uid(pod),
            mark: value,
            **self._cpu_limit(pod).environment,
            **config.pod_environment,
        }
        if (service_account_dir := self._volumes.service_account_dir(container)) is not None:
            variables["FLEETFIT_SERVICE_ACCOUNT_DIR"] = service_account_dir
        if (time_zone := os.environ.get("TZ")) is not None:
            variables["TZ"] = time_zone
        return variables

    async def _facts(self, pod: Manifest, container: Manifest) -> PodFacts:
        config: dict[tuple[str, str], dict[str, str]] = {}
        for reference in set(config_refs(container)):
            key = (reference.kind, reference.name)
            values = await self._config(*key, pod["metadata"]["namespace"])
            if values is not None:
                config[key] = self._last_config[key] = values
        return PodFacts(pod, self._node.config.address, self._node.allocatable, config)

    async def _config(self, kind: str, name: str, namespace: str) -> dict[str, str] | None:
        """Return a config map's or secret's values; the last known ones while the API server is out of reach."""
        resource = SECRETS if kind == "Secret" else CONFIG_MAPS
        try:
            return config_values({**await self._client.get(resource, name, namespace), "kind": kind})
        except NotFound:
            return None
        except ApiError as error:
            if not error.transient or (kind, name) not in self._last_config:
                raise
            return self._last_config[kind, name]
