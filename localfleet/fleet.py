"""A whole fleet as an asynchronous context manager: a control plane and process nodes.

This is the library behind the command line, the demo and the end-to-end tests. It installs nothing into the cluster.
Enter it from the main thread, as the control plane.
"""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from fleetfit_kube.client import ApiClient
from fleetfit_kube.errors import ApiError
from fleetfit_kube.resources import NODES

from localfleet.addresses import AddressPool
from localfleet.binaries import Binaries
from localfleet.control_socket import ControlError
from localfleet.controlplane.control_plane import ControlPlane
from localfleet.controlplane.ports import LOOPBACK
from localfleet.controlplane.state_dir import write_private
from localfleet.images import ImageMap
from localfleet.node_config import NodeConfig
from localfleet.node_process import NodeProcess

_NODE_READY_TIMEOUT_S: Final = 60.0
_POLL_INTERVAL_S: Final = 0.1


class Fleet:
    """A control plane and its nodes.

    Args:
        state_dir: Directory for everything the fleet writes.
        binaries: The programs of the control plane.
        images: Image repository -> local command, for all nodes.
        node_settings: Fields of `NodeConfig` that differ from their defaults, such as `crash_backoff_base_s`.
    """

    def __init__(
        self,
        state_dir: Path,
        binaries: Binaries,
        images: ImageMap,
        node_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.control_plane = ControlPlane(state_dir, binaries)
        self._images = dict(images)
        self._node_settings = dict(node_settings or {})
        self._addresses = AddressPool()
        self._nodes: dict[str, NodeProcess] = {}

    async def __aenter__(self) -> Self:
        await self.control_plane.start()
        shutil.rmtree(self.control_plane.state.nodes, ignore_errors=True)
        self.control_plane.state.create()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(node.stop() for node in self._nodes.values()))
        self._addresses.close()
        await self.control_plane.stop()

    @property
    def nodes(self) -> Sequence[NodeProcess]:
        """All nodes that were added, whatever has become of them."""
        return tuple(self._nodes.values())

    def node(self, name: str) -> NodeProcess:
        """Give a node.

        Raises:
            ControlError: there is none of that name.
        """
        try:
            return self._nodes[name]
        except KeyError:
            known = ", ".join(sorted(self._nodes)) or "there are none"
            raise ControlError(f"there is no node {name!r}; nodes: {known}") from None

    async def add_node(self, profile: str, name: str | None = None) -> NodeProcess:
        """Add a node, start it and return when its agent answers; `wait_until_ready` waits for the API.

        Raises:
            ControlError: there is a node of that name.
            AddressesExhaustedError: no address is free.
            ChildDiedError: the agent ended at once; the message has the end of its log.
        """
        name = name or self._free_name(Path(profile).stem)
        if name in self._nodes:
            raise ControlError(f"there is a node {name!r} already")
        node = NodeProcess(
            self._configure(name, profile, self._addresses.take()),
            self.control_plane.state.log(f"node-{name}"),
        )
        self._nodes[name] = node
        try:
            await node.start()
        except BaseException:
            await node.kill()
            self._addresses.release(node.config.address)
            del self._nodes[name]
            raise
        return node

    async def wait_until_ready(self, *names: str) -> None:
        """Wait until the API server has these nodes as Ready.

        Raises:
            TimeoutError: one of them was not in time; the message names it.
        """
        missing = set(names)
        async with self._admin() as admin, _within(_NODE_READY_TIMEOUT_S, missing):
            while True:
                with contextlib.suppress(ApiError):
                    listed = await admin.list(NODES)
                    missing -= {node["metadata"]["name"] for node in listed.items if _is_ready(node)}
                if not missing:
                    return
                await asyncio.sleep(_POLL_INTERVAL_S)

    def _admin(self) -> ApiClient:
        return ApiClient(self.control_plane.admin())

    def _free_name(self, stem: str) -> str:
        number = 1
        while f"{stem}-{number}" in self._nodes:
            number += 1
        return f"{stem}-{number}"

    def _configure(self, name: str, profile: str, address: str) -> NodeConfig:
        state, credentials = self.control_plane.state, self.control_plane.credentials
        directory = state.node(name)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = NodeConfig(
            name=name,
            profile=profile,
            address=address,
            state_dir=directory,
            api_host=LOOPBACK,
            api_port=self.control_plane.ports.api,
            kubeconfig=directory / "kubelet.kubeconfig",
            feature_kubeconfig=directory / "feature-discovery.kubeconfig",
            ca_cert=state.certificate("ca"),
            serving_cert=directory / "kubelet.crt",
            serving_key=directory / "kubelet.key",
            images=self._images,
            # All nodes run on this machine's processors: they must not time the reference set against each other.
            pod_environment={"FLEETFIT_REFERENCE_TURNS_DIR": str(state.root / "reference-turns")},
            **self._node_settings,
        )
        through_proxy = f"https://{address}:{config.proxy_port}"
        serving = credentials.node_serving_pair(name, address)
        write_private(config.kubeconfig, credentials.node_kubeconfig(name, through_proxy).encode())
        write_private(config.feature_kubeconfig, credentials.feature_kubeconfig(through_proxy).encode())
        write_private(config.serving_cert, serving.certificate)
        write_private(config.serving_key, serving.key)
        return config


@contextlib.asynccontextmanager
async def _within(timeout_s: float, missing: set[str]) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        names = ", ".join(sorted(missing))
        raise TimeoutError(f"not Ready after {timeout_s:.0f} s: {names}; see their logs") from None


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
