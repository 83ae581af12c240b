"""What the runtime tells people and Prometheus about itself: metrics and the log."""
