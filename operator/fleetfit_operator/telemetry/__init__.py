"""Metrics, health and logs of the operator. Nothing here decides anything."""
