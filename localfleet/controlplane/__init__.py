"""The control plane: certificates, credentials and the processes that make it."""
