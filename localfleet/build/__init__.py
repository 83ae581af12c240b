"""Building the control plane's programs from their Go modules, once, into a cache outside the work tree."""
