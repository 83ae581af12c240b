"""What the runtime finds out about its node: facts, and the times of the reference set."""
