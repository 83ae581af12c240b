"""The demo: the whole loop on real parts, from an empty machine to a report."""
