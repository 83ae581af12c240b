"""A process node: stands in for the kubelet and runs a pod's containers as child processes, without needing root."""
