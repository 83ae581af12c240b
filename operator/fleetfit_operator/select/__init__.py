"""Chooses the variant for every node: pure functions of the fleet's values, without IO, clock or Kubernetes client."""
