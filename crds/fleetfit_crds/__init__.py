"""Turns the API models into CustomResourceDefinitions and the API reference.

A development tool: `python -m fleetfit_crds` writes the generated files. Neither operator nor runtime import it, and it
knows nothing of a cluster.
"""
