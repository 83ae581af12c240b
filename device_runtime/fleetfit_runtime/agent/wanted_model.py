"""What an assignment, and one that is to come, ask of the store. Pure."""

from fleetfit_api.node_inference import Assignment, ModelSource

from fleetfit_runtime.store.model_files import DataFile, WantedModel
from fleetfit_runtime.store.signatures import SignatureTerms
from fleetfit_runtime.store.source import Wanted


def wanted_model(assignment: ModelSource) -> WantedModel:
    """Return the files that it needs."""
    return WantedModel(
        Wanted(assignment.uri, assignment.sha256, assignment.size_bytes),
        tuple(
            DataFile(each.name, Wanted(each.uri, each.sha256, each.size_bytes)) for each in assignment.files
        ),
        _signature(assignment),
    )


def _signature(assignment: ModelSource) -> SignatureTerms:
    required = isinstance(assignment, Assignment) and assignment.require_signature
    return SignatureTerms(assignment.signature_uri, required)
