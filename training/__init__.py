"""How the shipped predictor came to be: graphs, measurements, training. Not part of the installed packages.

Run from the repository root, as root for the quotas, on a machine that does nothing else:

    python -m training.reference_networks                        # only when the reference set changes
    python -m training.measure --machine NAME --budget-s 1200    # some 3 minutes a pass; replaces data/NAME
    python -m training.train                                     # prints held-out errors, writes the model

A further machine is a further directory under `data`. It may import operator and runtime; neither may import it.
"""
