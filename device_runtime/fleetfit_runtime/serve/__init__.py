"""The Open Inference Protocol V2 over REST: a thin HTTP protocol, the routes, and tensors in JSON and binary form."""
