"""Turns what the API server says into the values that decisions rest on."""
