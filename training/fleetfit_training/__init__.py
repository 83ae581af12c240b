"""How the shipped predictor came to be: graphs, measurements, training.

Run from the repository root, as root for the quotas, on a machine that does nothing else:

    fleetfit references                               # which networks would tell the most
    python -m fleetfit_training.reference_networks    # only when the reference set changes
    fleetfit measure --machine NAME --data training/data --budget-s 1200 cpu-t1 cpu-t2 cpu-t1-q0.5   # replaces it
    fleetfit train                                    # prints held-out errors, writes the model

A further machine is a further directory under `data`. It may import operator and runtime; neither may import it.
"""
