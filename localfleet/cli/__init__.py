"""The command line, `python -m localfleet`."""
