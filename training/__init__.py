"""How the shipped predictor came to be: graphs, measurements, training. Not part of the installed packages.

Run from the repository root: `python -m training.reference_networks`, `python -m training.measure`,
`python -m training.train`. It may import operator and runtime; neither may import it.
"""
