"""Turns the API models into CustomResourceDefinitions and the API reference.

A development tool: `crds/generate.py` writes the generated files. Neither operator nor runtime import it, and it
knows nothing of a cluster.
"""
