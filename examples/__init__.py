"""Examples of using Fleetfit; not part of the installed packages."""
