"""Which model this build ships: what is learnt on top of one model means nothing on top of another.

Knows the files of the model and two of their fields, not what the predictor makes of them.
"""

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Self

from pydantic import BaseModel, ConfigDict


class ShippedModel(BaseModel):
    """Identity of a model.

    Attributes:
        digest: SHA-256 digest of the model's files.
        data_digest: Digest of the data that it was trained on; empty when the model does not say.
        trained_on: Day of its training; empty when the model does not say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    data_digest: str = ""
    trained_on: str = ""

    @classmethod
    def load(cls, directory: Traversable | None = None) -> Self:
        """Return the identity of the shipped model, or of one in another directory."""
        model = directory or files("fleetfit_operator.predict") / "model"
        content = hashlib.sha256()
        for each in sorted(model.iterdir(), key=lambda file: file.name):
            data = each.read_bytes()
            content.update(f"{each.name} {len(data)}\n".encode())
            content.update(data)
        told = _Told.model_validate_json((model / "metadata.json").read_text())
        return cls(digest=content.hexdigest(), data_digest=told.data_digest, trained_on=told.trained_on)


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore")

    data_digest: str = ""
    trained_on: str = ""
