"""From ONNX files to `ModelSuite` manifests: what a file costs, and what a suite says of it."""
