"""From a model's name and version to the model that serves, or why none does."""

from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.serve.errors import RequestError
from fleetfit_runtime.serve.node_side import NodeSide


class ModelFinder:
    """Finds models.

    Args:
        models: what answers under which name.
        node: what the node knows of its models.
    """

    def __init__(self, models: ModelTable, node: NodeSide) -> None:
        self._models = models
        self._node = node

    def find(self, name: str, version: str = "") -> ServedModel:
        """Return the model.

        Raises:
            RequestError: there is none (404), or it is not ready (503).
        """
        model = self._models.get(name)
        if model is None:
            reason = self._node.pending_reason(name)
            if reason is not None:
                raise RequestError(503, f"model {name!r} is not ready: {reason}")
            raise RequestError(404, f"there is no model {name!r} on this node")
        if version and version != model.variant:
            raise RequestError(404, f"model {name!r} has no version {version!r}; it has {model.variant!r}")
        return model

    def names(self) -> list[str]:
        """Return the names that answer."""
        return self._models.names()

    def all(self) -> list[ServedModel]:
        """Return the models that answer."""
        return list(self._models)

    def is_ready(self, name: str) -> bool | None:
        """Tell whether a model answers; None for a name that is not assigned."""
        if self._models.get(name) is not None:
            return True
        return None if self._node.pending_reason(name) is None else False

    def server_ready(self) -> bool:
        """Tell whether the server should get traffic."""
        return self._node.readiness().ready
