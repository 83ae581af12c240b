"""Derives what users read (status and conditions) from what was decided: pure functions, no writes."""
