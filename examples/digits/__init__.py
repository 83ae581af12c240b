"""Handwritten digits: one task, variants that trade accuracy against cost, and the manifests to deploy them.

Only `train` and `jax_operators` need the extra `train`; everything else runs with the extra `examples`.
"""
