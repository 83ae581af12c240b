"""The candidates of all nodes of a deployment: nodes that cannot be told apart are scored once and share the answer.

They are alike when they stand towards the variants in the same way and have the very same predictions, as nodes have
that lack a reference run or borrowed the same one and have not timed anything yet. The sharing changes no answer.
"""

from collections.abc import Mapping

from fleetfit_operator.fleet.choice import LatencyPrediction, Opinion
from fleetfit_operator.fleet.snapshot import FleetNode
from fleetfit_operator.select.candidates import Field, field_of
from fleetfit_operator.select.policy import Policy
from fleetfit_operator.select.standing import Standing, standing_of

Predictions = Mapping[str, LatencyPrediction]


class Fields:
    """The candidates of a deployment's nodes in one pass.

    Args:
        policy: The deployment and its suite.
        opinion: What users are known to like; None while nothing is.
    """

    def __init__(self, policy: Policy, opinion: Opinion | None = None) -> None:
        self._policy = policy
        self._opinion = opinion
        # Predictions go by identity, which costs nothing; they are held here so that no others get their place.
        self._known: dict[tuple[int, Standing], tuple[Predictions, Field]] = {}

    def of(self, policy: Policy, node: FleetNode, predictions: Predictions) -> Field:
        """Return the candidates as a node sees them.

        Args:
            policy: The deployment's policy, or the node's own where users' labels give variants other accuracies.
            node: The node.
            predictions: Expected latency by name of variant.
        """
        standing = standing_of(policy, node)
        if policy is not self._policy:
            return field_of(policy, standing, predictions, self._opinion)
        place = (id(predictions), standing)
        known = self._known.get(place)
        if known is None:
            known = (predictions, field_of(policy, standing, predictions, self._opinion))
            self._known[place] = known
        return known[1]
