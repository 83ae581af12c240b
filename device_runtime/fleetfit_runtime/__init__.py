"""The device runtime: fetches, proves and serves the models that Fleetfit assigns to its node."""

from typing import Final

__version__: Final = "0.1.0"
