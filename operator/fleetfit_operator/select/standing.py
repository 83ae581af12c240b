"""What the merits of variants on a node hang on, apart from the predictions; nodes that agree in both are alike.

Everything that `candidates` takes from a node is taken here, so that nothing else can tell two nodes apart.
"""

from dataclasses import dataclass

from fleetfit_api.model_status import ModelPhase
from fleetfit_api.node_inference import FailedVariant

from fleetfit_operator.fleet.snapshot import DeploymentKey, FleetNode
from fleetfit_operator.select.failures import failed_variants
from fleetfit_operator.select.policy import Policy


@dataclass(frozen=True, slots=True)
class Standing:
    """How a node stands towards the variants of a suite.

    Attributes:
        class_name: Hardware class of the node; empty when none matches.
        providers: Execution providers of the class that the node offers, best first.
        provider: The one that it would use; empty when none is known.
        memory_bytes: Memory that a model may take; None when unknown.
        failures: What failed on the node for good.
        running: Variant and digest that the node was given by a choice that nobody has edited since, or None.
        signed_only: Whether the node's class loads only variants with a signature.
    """

    class_name: str
    providers: tuple[str, ...]
    provider: str
    memory_bytes: float | None
    failures: tuple[FailedVariant, ...]
    running: tuple[str, str] | None
    signed_only: bool = False


def standing_of(policy: Policy, node: FleetNode) -> Standing:
    """Return how the node stands towards the variants of a deployment's suite."""
    current = node.assignment(policy.key)
    unedited = current is not None and current.decided_from == policy.decided_from
    return Standing(
        class_name=node.class_name,
        providers=usable_providers(node),
        provider=provider_in_use(node, policy.key),
        memory_bytes=usable_memory_bytes(node),
        failures=failed_variants(policy, node),
        running=(current.variant, current.sha256) if current is not None and unedited else None,
        signed_only=node.hardware_class is not None and node.hardware_class.spec.runtime.require_signatures,
    )


def usable_providers(node: FleetNode) -> tuple[str, ...]:
    """Return the providers of the node's class that its runtime offers; all of them before it has reported."""
    chain = tuple(node.hardware_class.spec.runtime.providers) if node.hardware_class else ()
    offered = node.inference.status.telemetry.available_providers if node.inference else []
    return tuple(provider for provider in chain if not offered or provider in offered)


def provider_in_use(node: FleetNode, key: DeploymentKey) -> str:
    """Return the provider that the node would run a variant on; empty when none is known.

    It is the one that the node has proven for the model that it serves, whichever variant that is: a provider that
    does not come up is the node's trouble, and trying every variant in turn would not cure it. Before that it is the
    first one that is there.
    """
    report = node.report(key)
    if report is not None and report.phase is ModelPhase.READY and report.provider:
        return report.provider
    return next(iter(usable_providers(node)), "")


def usable_memory_bytes(node: FleetNode) -> float | None:
    """Return the smaller of what the runtime reports and the node's capacity; None when neither is known."""
    reported = node.inference.status.telemetry.memory_total_bytes if node.inference else 0
    capacity = node.node.capacity.get("memory")
    return min((float(each) for each in (reported, capacity) if each), default=None)
