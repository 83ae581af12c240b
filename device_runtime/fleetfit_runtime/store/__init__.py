"""The node's model files: fetched, verified, kept by digest, thrown away when nothing needs them."""
