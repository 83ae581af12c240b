"""What the choices of one deployment have in common, worked out once for all of its nodes.

Knows nothing of a single node.
"""

import hashlib
import json
from dataclasses import dataclass

from fleetfit_api import InferenceDeployment, ModelSuite
from fleetfit_api.deployment import InferenceDeploymentSpec
from fleetfit_api.suite import ModelSuiteSpec, Variant

from fleetfit_operator.fleet.snapshot import DeploymentKey
from fleetfit_operator.select.qoe import QoeTerms, qoe_terms

_DIGEST_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Policy:
    """A deployment and its suite as the choice for any node sees them.

    Attributes:
        key: Identity of the deployment.
        spec: What the user declared.
        model_name: Name under which nodes serve the model.
        suite_name: Name of the suite.
        suite: The suite to choose from.
        decided_from: Digest of everything in them that the user can edit to change choices.
        best_accuracy: Accuracy of the suite's best variant, feasible or not, so that QoE does not depend on the node.
        terms: Weights and targets of the QoE.
        unsupported: What nodes of a hardware class have shown not to run there: (class, variant, digest), from
            `failures.with_class_failures`.
    """

    key: DeploymentKey
    spec: InferenceDeploymentSpec
    model_name: str
    suite_name: str
    suite: ModelSuiteSpec
    decided_from: str
    best_accuracy: float
    terms: QoeTerms
    unsupported: frozenset[tuple[str, str, str]] = frozenset()

    def variant(self, name: str) -> Variant | None:
        """Return the variant of that name, or None."""
        return next((variant for variant in self.suite.variants if variant.name == name), None)


def policy_of(deployment: InferenceDeployment, suite: ModelSuite) -> Policy:
    """Return what the choices of the deployment have in common."""
    best_accuracy = max((variant.accuracy for variant in suite.spec.variants), default=0.0)
    return Policy(
        key=DeploymentKey(deployment.metadata.namespace, deployment.metadata.name),
        spec=deployment.spec,
        model_name=deployment.model_name,
        suite_name=suite.metadata.name,
        suite=suite.spec,
        decided_from=decision_digest(deployment.spec, suite.spec),
        best_accuracy=best_accuracy,
        terms=qoe_terms(deployment.spec.qoe, best_accuracy),
    )


def decision_digest(spec: InferenceDeploymentSpec, suite: ModelSuiteSpec) -> str:
    """Return a short digest of what choices are made from: the suite, qoe, selection and whether it must be signed.

    Values that equal their defaults are left out, so that an operator whose API has new fields does not take every
    deployment for edited. The order of variants does not matter.
    """
    variants = sorted(suite.variants, key=lambda variant: variant.name)
    content = [
        spec.qoe.model_dump(mode="json", exclude_defaults=True),
        spec.selection.model_dump(mode="json", exclude_defaults=True),
        spec.suite_ref.name,
        suite.storage_uri or "",
        [variant.model_dump(mode="json", exclude_defaults=True) for variant in variants],
    ]
    if spec.serving.require_signature:
        content.append("signed")
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_DIGEST_CHARACTERS]
