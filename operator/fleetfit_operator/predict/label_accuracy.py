"""How accurate variants are on the data of one node, where users say whether replies were right.

A suite's accuracy comes from held-out data; a node may see easier or harder data. Labels move the accuracies of the
node in two steps, each a Beta shrinkage that needs some hundred labels to count for much:

1. What all labels of the node say together shifts every variant's log odds alike, since harder data is harder for all.
   Without this a variant would be left merely because it is the one that runs.
2. A variant's own labels move it from there.

What one source could have caused is taken off first. Pure; knows no Kubernetes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PRIOR_LABELS: Final = 200.0
"""Labels that weigh as much as the suite's accuracy."""
_LABELS_OF_A_SOURCE: Final = 3.0
_LEAST_SOURCE_SHARE: Final = 0.03
"""The newest voice's share of all, however many there are: older ones fade."""
_EDGE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Labelled:
    """What labels on a node say of one variant.

    Attributes:
        variant: Name of the variant.
        accuracy: Share of replies that were right.
        labels: Number of labels.
    """

    variant: str
    accuracy: float
    labels: int


def local_accuracies(suite: Mapping[str, float], labelled: Sequence[Labelled]) -> dict[str, float]:
    """Return the expected accuracy of every variant on the node.

    Args:
        suite: Accuracy of each variant on held-out data, by name.
        labelled: What labels say; variants that the suite does not have are passed over.
    """
    heard = [each for each in labelled if each.labels > 0 and each.variant in suite]
    if not heard:
        return dict(suite)
    labels = sum(each.labels for each in heard)
    expected = sum(each.labels * suite[each.variant] for each in heard) / labels
    right = sum(each.labels * each.accuracy for each in heard) / labels
    shift = _log_odds(_shrunk(expected, right, labels)) - _log_odds(expected)
    local = {
        name: _share(_log_odds(accuracy) + shift) if shift else accuracy for name, accuracy in suite.items()
    }
    for each in heard:
        local[each.variant] = _shrunk(local[each.variant], each.accuracy, each.labels)
    return local


def _shrunk(expected: float, observed: float, labels: float) -> float:
    """Return the mean of the posterior, after what one source could have caused is taken off the difference."""
    one_source = min(1.0, max(_LABELS_OF_A_SOURCE / labels, _LEAST_SOURCE_SHARE))
    difference = observed - expected
    held = math.copysign(max(0.0, abs(difference) - one_source), difference)
    return expected + held * labels / (PRIOR_LABELS + labels)


def _log_odds(share: float) -> float:
    inside = min(1.0 - _EDGE, max(_EDGE, share))
    return math.log(inside / (1.0 - inside))


def _share(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds))
