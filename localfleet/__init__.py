"""A real Kubernetes control plane and process nodes on one machine, for development, the demo and tests."""
