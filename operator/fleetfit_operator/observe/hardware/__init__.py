"""What a node's labels and resources say of its hardware: one file per family of labels, and `facts`, which joins them.

Pure, like all that decisions rest on. A family reads its own labels and says which accelerators it has found; it knows
nothing of the other families. Labels are written by programs that start in any order, fail, or are configured in odd
ways, and by hand: what cannot be read counts as absent, nothing here raises, and nothing is made up.

Where families contradict each other the more specific one is right, field by field (`Source`); where a node has several
kinds of accelerators the strongest is named (`STRONGEST_FIRST`).
"""

from fleetfit_operator.observe.hardware.facts import node_hardware as node_hardware
