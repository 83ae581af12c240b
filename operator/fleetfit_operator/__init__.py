"""The Fleetfit operator: one room per step of the loop observe, predict, select, rollout, apply; wired in `app.py`."""

from typing import Final

__version__: Final = "0.1.0"
