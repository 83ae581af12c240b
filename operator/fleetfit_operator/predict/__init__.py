"""How long a variant takes on a node that may never have run it.

A node's fingerprint is its reference run, a variant's is its graph. This room is pure: values in, values out.
It knows no Kubernetes, no asyncio and no ONNX Runtime. Only `graph_features` knows ONNX, which the operator's
image ships without.
"""
