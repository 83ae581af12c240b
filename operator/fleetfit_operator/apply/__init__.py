"""The only writers to the API server. They know how a decision is written, not why it was taken."""
