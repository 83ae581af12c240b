"""Drives the node to what its NodeInference asks, remembers it across restarts without network, and reports."""
