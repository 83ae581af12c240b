"""ONNX Runtime on this node: sessions, the proof of which provider runs them, warm-up, and the models that serve."""
