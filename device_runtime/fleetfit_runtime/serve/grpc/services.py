"""Puts the gRPC services together: which path is answered by what."""

from dataclasses import dataclass

from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.ratings.desk import RatingDesk
from fleetfit_runtime.serve.grpc.call import CallRules, UnaryHandler
from fleetfit_runtime.serve.grpc.descriptors import load_descriptors
from fleetfit_runtime.serve.grpc.dispatch import GrpcDispatcher
from fleetfit_runtime.serve.grpc.health import HEALTH_SERVICE, HealthCalls
from fleetfit_runtime.serve.grpc.infer_calls import InferCalls
from fleetfit_runtime.serve.grpc.inference_calls import INFERENCE_SERVICE, InferenceCalls
from fleetfit_runtime.serve.grpc.reflection import REFLECTION_SERVICES, Reflection
from fleetfit_runtime.serve.grpc.streaming_call import StreamingHandler
from fleetfit_runtime.serve.infer_ledger import InferLedger, RequestObserver
from fleetfit_runtime.serve.model_finder import ModelFinder
from fleetfit_runtime.serve.node_side import NodeSide
from fleetfit_runtime.serve.service import ServiceTerms


@dataclass(frozen=True, slots=True)
class GrpcParts:
    """What the services are made of.

    Args:
        models: what answers under which name.
        node: what the node knows of its models.
        desk: takes ratings.
        observer: what is counted.
        terms: what the operator of the runtime sets.
    """

    models: ModelTable
    node: NodeSide
    desk: RatingDesk
    observer: RequestObserver
    terms: ServiceTerms


def grpc_dispatcher(parts: GrpcParts, rules: CallRules) -> GrpcDispatcher:
    """Return what opens the calls of all services."""
    finder = ModelFinder(parts.models, parts.node)
    ledger = InferLedger(parts.node.ask_share, parts.desk, parts.observer)
    infer = InferCalls(finder, ledger, rules.loop.time)
    inference = InferenceCalls(finder, parts.node, parts.terms)
    health = HealthCalls(finder, rules.loop)
    reflection = Reflection(load_descriptors)
    unary: dict[bytes, UnaryHandler] = {
        _path(INFERENCE_SERVICE, method): handler for method, handler in inference.handlers().items()
    }
    unary[_path(INFERENCE_SERVICE, "ModelInfer")] = infer.infer
    unary[_path(HEALTH_SERVICE, "Check")] = health.check
    unary[_path(HEALTH_SERVICE, "List")] = health.list_all
    streaming: dict[bytes, StreamingHandler] = {
        _path(service, "ServerReflectionInfo"): reflection.begin for service in REFLECTION_SERVICES
    }
    streaming[_path(HEALTH_SERVICE, "Watch")] = health.watch
    return GrpcDispatcher(unary, streaming, rules)


def _path(service: str, method: str) -> bytes:
    return f"/{service}/{method}".encode()
