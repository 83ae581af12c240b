"""Which model answers under which name: the one place where a swap happens, in one assignment on the event loop."""

from collections.abc import Iterator, Mapping

from fleetfit_runtime.engine.served_model import ServedModel


class ModelTable:
    """Models by name. A request takes its model from here once and keeps it, whatever is swapped meanwhile."""

    def __init__(self) -> None:
        self._models: dict[str, ServedModel] = {}
        # The model that answers under a name now; asked with every request.
        self.get = self._models.get

    def names(self) -> list[str]:
        """Return the names that answer."""
        return sorted(self._models)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(list(self._models.values()))

    def __len__(self) -> int:
        return len(self._models)

    def snapshot(self) -> Mapping[str, ServedModel]:
        """Return the models by name as they are now."""
        return dict(self._models)

    def put(self, model: ServedModel) -> None:
        """Let a model answer from the next request on; the one before it finishes what it has."""
        before = self._models.get(model.name)
        self._models[model.name] = model
        if before is not None and before is not model:
            before.retire()

    def remove(self, name: str) -> None:
        """Stop answering under a name."""
        before = self._models.pop(name, None)
        if before is not None:
            before.retire()
