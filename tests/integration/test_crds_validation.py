"""The API server refuses bad objects with a sentence, and fills the same defaults as the models."""

from typing import Any

import pytest
from fleetfit_api import HardwareClass, InferenceDeployment, ModelSuite, NodeInference
from fleetfit_api.base import Resource
from fleetfit_kube import ApiClient
from fleetfit_kube.errors import Invalid
from fleetfit_kube.resources import NAMESPACES, resource_of

NAMESPACE = "crds-validation"
SHA256 = "0123456789abcdef" * 4
VARIANT = {
    "name": "cnn8-int8", "uri": "cnn8.onnx", "sha256": SHA256, "sizeBytes": 10, "precision": "int8", "accuracy": 0.9,
}  # fmt: skip
RUNTIME = {"image": "fleetfit/runtime:1", "providers": ["CPUExecutionProvider"]}
SUITE_REF = {"suiteRef": {"name": "digits"}}
FILE = {"name": "weights.data", "uri": "digits/weights.data", "sha256": SHA256, "sizeBytes": 10}
ASSIGNMENT = {
    "namespace": "default", "deployment": "digits", "modelName": "digits", "suite": "digits", "variant": "cnn8-int8",
    "precision": "int8", "uri": "http://models/cnn8.onnx", "sha256": SHA256, "sizeBytes": 10,
}  # fmt: skip


def suite(**changes: Any) -> dict[str, Any]:
    return {"storageUri": "http://models", "variants": [{**VARIANT, **changes}]}


def deployment(**parts: Any) -> dict[str, Any]:
    return {**SUITE_REF, **parts}


def affinity(**requirement: Any) -> dict[str, Any]:
    terms = [{"matchExpressions": [{"key": "kubernetes.io/arch", **requirement}]}]
    return deployment(nodeAffinity={"nodeSelectorTerms": terms})


def hardware_class(**parts: Any) -> dict[str, Any]:
    return {"runtime": RUNTIME, **parts}


def runtime(**parts: Any) -> dict[str, Any]:
    return {"runtime": {**RUNTIME, **parts}}


GOOD = [
    (ModelSuite, suite()),
    (ModelSuite, {"variants": [{**VARIANT, "uri": "file:///models/cnn8.onnx"}]}),
    (ModelSuite, suite(requirements={"memoryBytes": 1 << 40, "providers": ["CUDAExecutionProvider"]})),
    (ModelSuite, suite(uri="a..v2.onnx")),
    (ModelSuite, suite(uri="s3://models/a.onnx")),
    (
        ModelSuite,
        suite(files=[FILE, {**FILE, "name": "part/b.data", "uri": f"oci://r:5000/m@sha256:{SHA256}/b"}]),
    ),
    (HardwareClass, runtime(credentials=["model-store", "registry.example"], claims=["models"])),
    (HardwareClass, runtime(trustedKeys=["signers"], requireSignatures=True)),
    (HardwareClass, runtime(requireSignatures=False)),
    (ModelSuite, suite(signatureUri="digits/a.sig")),
    (ModelSuite, suite(signatureUri=f"oci://r:5000/m@sha256:{SHA256}/a.sig")),
    (InferenceDeployment, deployment(serving={"requireSignature": True})),
    (ModelSuite, suite(uri="https://models.example:8443/a@2/b.onnx")),
    (ModelSuite, {**suite(accuracy=1), "storageUri": "file:///models"}),
    (InferenceDeployment, SUITE_REF),
    (InferenceDeployment, {"suiteRef": {"name": "digits.v2"}}),
    (InferenceDeployment, deployment(qoe={"constraints": {"minAccuracy": 1}})),
    (InferenceDeployment, deployment(qoe={"profile": "frugal", "weights": {"energy": 10, "memory": 0}})),
    (InferenceDeployment, deployment(qoe={"latencyPercentile": 99, "ratings": {"askShare": 1}})),
    (
        InferenceDeployment,
        deployment(qoe={"constraints": {"maxEnergyJoules": 0.5, "maxMemoryBytes": 1 << 40}}),
    ),
    (
        InferenceDeployment,
        deployment(selection={"exploration": {"maxNodesShare": 0.5, "maxExpectedLoss": 1}}),
    ),
    (InferenceDeployment, deployment(rollout={"maxUnavailable": 3})),
    (InferenceDeployment, deployment(rollout={"maxUnavailable": "100%"})),
    (
        InferenceDeployment,
        deployment(selection={"pins": [{"name": "a", "variant": "v", "nodeNames": ["n1"]}]}),
    ),
    (InferenceDeployment, deployment(serving={"modelName": "Digits_v1.2"})),
    (InferenceDeployment, deployment(serving={"batching": {"enabled": False}})),
    (InferenceDeployment, deployment(serving={"batching": {"enabled": False, "maxItems": 4}})),
    (InferenceDeployment, deployment(serving={"batching": {"maxItems": 16, "maxWaitMilliseconds": 2}})),
    (InferenceDeployment, deployment(serving={"batching": {"maxItems": 1, "maxWaitMilliseconds": 0}})),
    (InferenceDeployment, affinity(operator="Gt", values=["4"])),
    (InferenceDeployment, affinity(operator="Exists")),
    (HardwareClass, hardware_class()),
    (HardwareClass, hardware_class(match=[{"capacity": [{"resource": "memory", "atLeast": "4Gi"}]}])),
    (HardwareClass, hardware_class(match=[{"capacity": [{"resource": "nvidia.com/gpu"}]}])),
    (HardwareClass, {"runtime": {**RUNTIME, "resources": {"limits": {"cpu": 1, "memory": "1.5Gi"}}}}),
    (HardwareClass, runtime(env=[{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}])),
    (HardwareClass, runtime(env=[{"name": "FLEETFIT_LOG_LEVEL", "value": "DEBUG"}])),
    (HardwareClass, runtime(tolerations=[{"operator": "Exists"}, {"key": "edge", "value": "yes"}])),
    (NodeInference, {}),
    (NodeInference, {"hardwareClass": "x86-cpu", "leaderEpoch": 7, "assignments": [ASSIGNMENT]}),
]

BAD = [
    (ModelSuite, {"variants": [VARIANT]}, "variants with a relative uri need spec.storageUri"),
    (
        ModelSuite,
        {**suite(), "storageUri": "ftp://b"},
        "spec.storageUri must begin with http://, https://, s3://",
    ),
    (
        ModelSuite,
        suite(uri="ftp://b/a"),
        "or be relative to spec.storageUri",
    ),
    (ModelSuite, suite(uri="s3:///a"), "needs a bucket, container, registry or claim"),
    (
        ModelSuite,
        suite(files=[{**FILE, "name": "../a"}]),
        "the name of a further file is a path below the graph",
    ),
    (
        ModelSuite,
        suite(files=[{**FILE, "name": "/a"}]),
        "the name of a further file is a path below the graph",
    ),
    (
        ModelSuite,
        suite(files=[{**FILE, "uri": "a/../b"}]),
        "the uri of a further file must begin with http://",
    ),
    (
        ModelSuite,
        suite(files=[{**FILE, "uri": "https://me:word@host/a"}]),
        "the uri of a further file must begin",
    ),
    (ModelSuite, suite(files=[FILE, FILE]), "Duplicate value"),
    (
        ModelSuite,
        {"variants": [{**VARIANT, "uri": "s3://b/a", "files": [FILE]}]},
        "files of a variant with a relative uri need spec.storageUri",
    ),
    (HardwareClass, runtime(credentials=["../a"]), "the name of an object is lower-case letters"),
    (HardwareClass, runtime(claims=["models", "models"]), "Duplicate value"),
    (HardwareClass, runtime(requireSignatures=True), "requireSignatures needs keys: name ConfigMaps"),
    (HardwareClass, runtime(trustedKeys=["../a"]), "the name of an object is lower-case letters"),
    (HardwareClass, runtime(env=[{"name": "FLEETFIT_REQUIRE_SIGNATURES"}]), "the operator itself sets"),
    (ModelSuite, suite(signatureUri="../a.sig"), "signatureUri must begin with http://"),
    (
        ModelSuite,
        {"variants": [{**VARIANT, "uri": "s3://b/a", "signatureUri": "a.sig"}]},
        "a relative signatureUri needs spec.storageUri",
    ),
    (ModelSuite, suite(uri="../../etc/passwd"), "a variant's uri must not contain '..'"),
    (ModelSuite, suite(uri="a/..?b"), "a variant's uri must not contain '..'"),
    (ModelSuite, suite(uri="a/%2E./b"), "a variant's uri must not contain '..'"),
    (ModelSuite, suite(uri="file://models/a.onnx"), "needs three slashes and an absolute path"),
    (ModelSuite, suite(uri="https:///a.onnx"), "a variant's uri with http: or https: needs a host"),
    (ModelSuite, suite(uri="https://:80/a.onnx"), "a variant's uri with http: or https: needs a host"),
    (ModelSuite, suite(uri="https://me:word@host/a"), "credentials in a uri are not supported"),
    (ModelSuite, {**suite(), "storageUri": "http://me@host"}, "credentials in a uri are not supported"),
    (ModelSuite, {**suite(), "storageUri": "file://a"}, "spec.storageUri with file: needs three slashes"),
    (
        InferenceDeployment,
        deployment(serving={"batching": {"enabled": False, "maxWaitMilliseconds": 1}}),
        "a wait for others needs batching: with enabled false, maxWaitMilliseconds must be 0",
    ),
    (
        InferenceDeployment,
        deployment(serving={"batching": {"maxItems": 1, "maxWaitMilliseconds": 0.5}}),
        "a wait for others needs room for them",
    ),
    (InferenceDeployment, deployment(serving={"batching": {"maxItems": 17}}), "maxItems is at most 16"),
    (
        InferenceDeployment,
        deployment(
            serving={"batching": {"maxWaitMilliseconds": 1001}}, qoe={"latencyTargetMilliseconds": 5e3}
        ),
        "maxWaitMilliseconds is at most 1000",
    ),
    (
        InferenceDeployment,
        deployment(serving={"batching": {"maxWaitMilliseconds": 20}}, qoe={"latencyTargetMilliseconds": 20}),
        "a request would be late by waiting alone",
    ),
    (ModelSuite, suite(sha256="abc"), "sha256 must be 64 lower-case hexadecimal digits"),
    (ModelSuite, suite(name="CNN 8"), "a variant's name must be lower-case letters, digits, '-' and '.'"),
    (ModelSuite, suite(precision="fp64"), 'supported values: "fp32", "fp16", "bf16", "int8", "int4"'),
    (ModelSuite, suite(accuracy=98.5), "accuracy is a fraction: 98% is 0.98"),
    (ModelSuite, suite(accuracy=98), "accuracy is a fraction: 98% is 0.98"),
    (ModelSuite, suite(sizeBytes=0), "should be greater than or equal to 1"),
    (ModelSuite, {"storageUri": "http://models", "variants": []}, "should have at least 1 items"),
    (ModelSuite, {"storageUri": "http://models", "variants": [VARIANT, VARIANT]}, "Duplicate value"),
    (ModelSuite, {**suite(), "modelFormat": {"name": "pickle"}}, "the only model format is onnx"),
    (InferenceDeployment, {}, "spec.suiteRef: Required value"),
    (InferenceDeployment, {"suiteRef": {"name": "My Suite"}}, "the name of an object is lower-case letters"),
    (
        InferenceDeployment,
        deployment(qoe={"constraints": {"minAccuracy": 98}}),
        "minAccuracy is a fraction: 98% is 0.98",
    ),
    (InferenceDeployment, deployment(qoe={"latencyTargetMilliseconds": 0}), "should be greater than 0"),
    (
        InferenceDeployment,
        deployment(qoe={"profile": "fast"}),
        'supported values: "balanced", "accurate", "responsive", "frugal"',
    ),
    (
        InferenceDeployment,
        deployment(qoe={"latencyPercentile": 80}),
        "latencyPercentile must be one of 50, 90, 95 and 99",
    ),
    (
        InferenceDeployment,
        deployment(qoe={"weights": {"energy": 11}}),
        "a weight is an exponent from 0 to 10",
    ),
    (
        InferenceDeployment,
        deployment(qoe={"weights": {"memory": -1}}),
        "should be greater than or equal to 0",
    ),
    (
        InferenceDeployment,
        deployment(qoe={"ratings": {"askShare": 5}}),
        "askShare is a fraction: 5% is 0.05",
    ),
    (InferenceDeployment, deployment(qoe={"energyTargetJoules": 0}), "should be greater than 0"),
    (
        InferenceDeployment,
        deployment(selection={"exploration": {"maxNodesShare": 0.6}}),
        "maxNodesShare is a fraction of at most 0.5: 5% is 0.05",
    ),
    (
        InferenceDeployment,
        deployment(selection={"exploration": {"maxExpectedLoss": 5}}),
        "maxExpectedLoss is a part of QoE, which goes from 0 to 1",
    ),
    (
        InferenceDeployment,
        deployment(qoe={"constraints": {"maxLatencyMilliseconds": 99}}),
        "constraints.maxLatencyMilliseconds must not be below latencyTargetMilliseconds",
    ),
    (
        InferenceDeployment,
        deployment(rollout={"maxUnavailable": 0}),
        "maxUnavailable must be a number of at least 1",
    ),
    (InferenceDeployment, deployment(rollout={"maxUnavailable": "0%"}), "or a percentage from 1% to 100%"),
    (InferenceDeployment, deployment(rollout={"maxUnavailable": "101%"}), "or a percentage from 1% to 100%"),
    (InferenceDeployment, deployment(rollout={"maxUnavailable": "3"}), "or a percentage from 1% to 100%"),
    (
        InferenceDeployment,
        deployment(selection={"pins": [{"name": "a", "variant": "v"}]}),
        "a pin needs nodeNames or nodeSelector",
    ),
    (
        InferenceDeployment,
        deployment(selection={"pins": [{"name": "A b", "variant": "v", "nodeNames": ["n"]}]}),
        "a pin's name must be lower-case letters",
    ),
    (InferenceDeployment, deployment(serving={"modelName": "a/b"}), "modelName must be letters, digits"),
    (InferenceDeployment, affinity(operator="In"), "operator In and NotIn need at least one entry in values"),
    (
        InferenceDeployment,
        affinity(operator="Exists", values=["a"]),
        "operator Exists and DoesNotExist take no values",
    ),
    (
        InferenceDeployment,
        affinity(operator="Gt", values=["four"]),
        "take exactly one whole number in values",
    ),
    (
        HardwareClass,
        hardware_class(match=[{}]),
        "a match term needs at least one entry in labels or capacity",
    ),
    (
        HardwareClass,
        {"runtime": {**RUNTIME, "providers": ["CUDA"]}},
        "a provider is named as ONNX Runtime does",
    ),
    (HardwareClass, {"runtime": {**RUNTIME, "providers": []}}, "should have at least 1 items"),
    (HardwareClass, hardware_class(priority=1001), "should be less than or equal to 1000"),
    (
        HardwareClass,
        hardware_class(match=[{"capacity": [{"resource": "memory", "atLeast": "4GiB"}]}]),
        'atLeast: Invalid value: "4GiB": must be a Kubernetes quantity such as 2, 500m or 4Gi',
    ),
    (
        HardwareClass,
        runtime(resources={"limits": {"memory": "4 GB"}}),
        "must be a Kubernetes quantity such as 2, 500m or 4Gi",
    ),
    (HardwareClass, runtime(env=[{"name": "A B"}]), "the name of an environment variable is letters"),
    (HardwareClass, runtime(env=[{"name": "POD_IP"}]), "the operator itself sets NODE_NAME, POD_IP"),
    (HardwareClass, runtime(env=[{"name": "FLEETFIT_PROVIDERS"}]), "are fields of spec.runtime"),
    (HardwareClass, runtime(tolerations=[{}]), "a toleration with operator Equal needs a key"),
    (
        HardwareClass,
        runtime(tolerations=[{"key": "edge", "operator": "Exists", "value": "yes"}]),
        "a toleration with operator Exists takes no value",
    ),
    (HardwareClass, runtime(image="fleetfit/runtime: 1"), "spec.runtime.image must not contain spaces"),
    (
        HardwareClass,
        runtime(providers=["CPUExecutionProvider", "CPUExecutionProvider"]),
        "spec.runtime.providers must name a provider only once",
    ),
    (NodeInference, {"assignments": [ASSIGNMENT, ASSIGNMENT]}, "Duplicate value"),
    (NodeInference, {"assignments": [{**ASSIGNMENT, "sha256": "x"}]}, "spec.assignments[0].sha256"),
]


@pytest.fixture
async def client(admin: ApiClient) -> ApiClient:
    """Return the administrator's client, with this file's namespace in place."""
    await admin.apply(NAMESPACES, {"metadata": {"name": NAMESPACE}}, field_manager="test")
    return admin


def document(kind: type[Resource], spec: dict[str, Any], name: str = "probe") -> dict[str, Any]:
    namespace = {"namespace": NAMESPACE} if kind.NAMES.namespaced else {}
    resource = resource_of(kind)
    metadata = {"name": f"crds-validation-{name}", **namespace}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(("kind", "spec"), GOOD, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_good_object_is_accepted_with_the_defaults_of_the_models(
    client: ApiClient, kind: type[Resource], spec: dict[str, Any]
) -> None:
    wanted = document(kind, spec, name="good")
    metadata = wanted["metadata"]
    stored = await client.create(resource_of(kind), wanted)
    await client.delete(resource_of(kind), metadata["name"], metadata.get("namespace", ""))

    assert (
        kind.model_validate(stored).model_dump()["spec"] == kind.model_validate(wanted).model_dump()["spec"]
    )


@pytest.mark.parametrize(("kind", "spec", "sentence"), BAD, ids=[f"{k.__name__}-{s[:40]}" for k, _, s in BAD])
async def test_a_bad_object_is_refused_with_a_sentence(
    client: ApiClient, kind: type[Resource], spec: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await client.create(resource_of(kind), document(kind, spec))
    assert sentence in refusal.value.message


async def test_the_api_server_fills_defaults_that_users_see(client: ApiClient) -> None:
    wanted = document(InferenceDeployment, SUITE_REF, name="defaults")
    stored = await client.create(resource_of(InferenceDeployment), wanted)
    await client.delete(resource_of(InferenceDeployment), wanted["metadata"]["name"], NAMESPACE)

    assert stored["spec"]["qoe"]["latencyTargetMilliseconds"] == 100
    assert stored["spec"]["rollout"] == {
        "canary": {"nodesPerClass": 1},
        "maxFailedNodes": 0,
        "maxUnavailable": "25%",
        "paused": False,
        "progressDeadlineSeconds": 600,
    }
    assert "status" not in stored


async def test_a_class_whose_name_is_no_label_value_is_refused(client: ApiClient) -> None:
    document = {
        "apiVersion": "fleetfit.io/v1alpha1",
        "kind": "HardwareClass",
        "metadata": {"name": "x" * 64},
        "spec": hardware_class(),
    }
    with pytest.raises(Invalid, match="more than 63 characters"):
        await client.create(resource_of(HardwareClass), document)


async def test_further_files_of_a_variant_change_only_with_its_graph_or_its_name(client: ApiClient) -> None:
    suites, other = resource_of(ModelSuite), "f" * 64
    wanted = document(ModelSuite, suite(files=[FILE]), name="files")
    name = wanted["metadata"]["name"]
    await client.create(suites, wanted)

    async def change(variant: dict[str, Any]) -> None:
        patch = {"spec": {"variants": [{**VARIANT, **variant}]}}
        await client.merge_patch(suites, name, patch, NAMESPACE, field_manager="test")

    with pytest.raises(Invalid, match="change only with its graph"):
        await change({"files": [{**FILE, "sha256": other}]})
    with pytest.raises(Invalid, match="change only with its graph"):
        await change({"files": []})
    await change({"files": [{**FILE, "uri": "elsewhere/weights.data"}]})
    await change({"files": [{**FILE, "sha256": other}], "sha256": other})
    await change({"files": [FILE], "sha256": other, "name": "another"})
    await client.delete(suites, name, NAMESPACE)
