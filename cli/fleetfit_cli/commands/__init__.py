"""One module per command: what it takes, and what runs it."""
