"""The Fleetfit operator: one room per step of the loop observe, predict, select, rollout, apply; wired in `app.py`."""
