"""Watches the node's own object and hands it to the agent and the reporter."""

import random
from typing import Any

from fleetfit_api.node_inference import NodeInference
from fleetfit_kube.client import ApiClient
from fleetfit_kube.reflector import ObjectKey, Reflector, ReflectorOptions
from fleetfit_kube.resources import NODE_INFERENCES

from fleetfit_runtime.agent.agent import Agent
from fleetfit_runtime.agent.reporter import StatusReporter


class SpecWatch:
    """Follows one NodeInference.

    Args:
        client: API access.
        node_name: name of the node.
        agent: takes specs.
        reporter: learns whether there is an object to report to.
        rng: source of jitter.
    """

    def __init__(
        self, client: ApiClient, node_name: str, agent: Agent, reporter: StatusReporter, rng: random.Random
    ) -> None:
        self._agent = agent
        self._reporter = reporter
        # A node's runtime may read its own object only; the selector lets the API server send nothing else.
        options = ReflectorOptions(field_selector=f"metadata.name={node_name}", page_size=1)
        self._reflector: Reflector[NodeInference] = Reflector(
            client, NODE_INFERENCES, _decode, on_change=self._on_change, options=options, rng=rng
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._reflector.run()

    async def await_first_list(self) -> None:
        """Tell the agent once the API server has answered that there is no object for this node."""
        await self._reflector.synced.wait()
        if not self._reflector.items:
            self._agent.take_absence()

    def _on_change(self, _key: ObjectKey, old: NodeInference | None, new: NodeInference | None) -> None:
        self._reporter.seen(new)
        # A deleted object takes nothing from the node: what serves goes on until a spec says otherwise.
        if new is not None and (old is None or _identity(old) != _identity(new)):
            self._agent.take(new)


def _decode(document: dict[str, Any]) -> NodeInference:
    return NodeInference.model_validate(document)


def _identity(node_inference: NodeInference) -> tuple[str, int]:
    return node_inference.metadata.uid, node_inference.metadata.generation
