"""Sorts nodes into hardware classes and says which nodes a deployment selects, by Kubernetes' rules for labels."""

import re
from collections.abc import Iterable, Mapping, Sequence

from fleetfit_api import HardwareClass, InferenceDeployment
from fleetfit_api.base import LabelRequirement, SelectorOperator
from fleetfit_api.hardware_class import CapacityRequirement, MatchTerm
from fleetfit_api.quantity import parse_quantity

from fleetfit_operator.fleet.snapshot import Node

# As Go's strconv.ParseInt reads it; Python's int() also takes blanks, underscores and other scripts' digits.
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")


def classify(node: Node, classes: Iterable[HardwareClass]) -> HardwareClass | None:
    """Return the matching class with the highest priority, then the first by name; None when none matches."""
    matching = (each for each in classes if matches_class(node, each))
    return min(matching, key=_precedence, default=None)


def matches_class(node: Node, hardware_class: HardwareClass) -> bool:
    """Return whether one of the class's terms matches the node; a class without terms matches every node."""
    terms = hardware_class.spec.match
    return not terms or any(_matches_term(node, term) for term in terms)


def selects(deployment: InferenceDeployment, node: Node) -> bool:
    """Return whether the node is part of the deployment: its nodeSelector and its nodeAffinity must both match."""
    spec = deployment.spec
    if any(node.labels.get(key) != value for key, value in spec.node_selector.items()):
        return False
    if spec.node_affinity is None:
        return True
    terms = spec.node_affinity.node_selector_terms
    return any(_matches_all(node.labels, term.match_expressions) for term in terms)


def matches_requirement(labels: Mapping[str, str], requirement: LabelRequirement) -> bool:
    """Return whether labels meet a requirement; as in Kubernetes, NotIn also holds where the label is absent."""
    value = labels.get(requirement.key)
    match requirement.operator:
        case SelectorOperator.IN:
            return value is not None and value in requirement.values
        case SelectorOperator.NOT_IN:
            return value is None or value not in requirement.values
        case SelectorOperator.EXISTS:
            return value is not None
        case SelectorOperator.DOES_NOT_EXIST:
            return value is None
        case SelectorOperator.GT | SelectorOperator.LT:
            return _compares(value, requirement)


def _compares(value: str | None, requirement: LabelRequirement) -> bool:
    bound = requirement.values[0] if len(requirement.values) == 1 else None
    if (
        value is None
        or bound is None
        or not (_WHOLE_NUMBER.fullmatch(value) and _WHOLE_NUMBER.fullmatch(bound))
    ):
        return False
    if requirement.operator is SelectorOperator.GT:
        return int(value) > int(bound)
    return int(value) < int(bound)


def _matches_term(node: Node, term: MatchTerm) -> bool:
    """Return whether everything in the term holds; as in Kubernetes, an empty term matches nothing."""
    if not term.labels and not term.capacity:
        return False
    return _matches_all(node.labels, term.labels) and all(_has(node, bound) for bound in term.capacity)


def _matches_all(labels: Mapping[str, str], requirements: Sequence[LabelRequirement]) -> bool:
    return all(matches_requirement(labels, requirement) for requirement in requirements)


def _has(node: Node, bound: CapacityRequirement) -> bool:
    try:
        at_least = parse_quantity(bound.at_least)
    except ValueError:
        return False  # the class's status says so, see report.class_status
    return node.capacity.get(bound.resource, 0.0) >= at_least


def _precedence(hardware_class: HardwareClass) -> tuple[int, str]:
    return (-hardware_class.spec.priority, hardware_class.metadata.name)
