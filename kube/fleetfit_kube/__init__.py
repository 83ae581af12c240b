"""Fleetfit."""
