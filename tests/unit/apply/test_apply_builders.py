from typing import Any

import pytest
from fleetfit_api import HardwareClass
from fleetfit_operator.apply.daemon_set import Install, runtime_daemon_set
from fleetfit_operator.apply.service import runtime_service

INSTALL = Install("fleetfit-system")


def hardware_class(**runtime: Any) -> HardwareClass:
    return HardwareClass.model_validate(
        {
            "metadata": {"name": "arm64-cpu", "uid": "u-1"},
            "spec": {
                "runtime": {"image": "fleetfit/runtime:1", "providers": ["CPUExecutionProvider"], **runtime}
            },
        }
    )


def container(body: dict[str, Any]) -> dict[str, Any]:
    containers = body["spec"]["template"]["spec"]["containers"]
    assert len(containers) == 1
    found: dict[str, Any] = containers[0]
    return found


def environment(body: dict[str, Any]) -> dict[str, str]:
    return {
        each["name"]: each.get("value") or each["valueFrom"]["fieldRef"]["fieldPath"]
        for each in container(body)["env"]
    }


def test_pods_run_on_the_nodes_of_the_class_and_the_service_finds_them() -> None:
    body = runtime_daemon_set(hardware_class(), INSTALL)
    pod = body["spec"]["template"]
    assert body["metadata"]["name"] == "fleetfit-runtime-arm64-cpu"
    assert pod["spec"]["nodeSelector"] == {"fleetfit.io/hardware-class": "arm64-cpu"}
    labels = pod["metadata"]["labels"]
    assert body["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert runtime_service(INSTALL)["spec"]["selector"].items() <= labels.items()
    assert body["metadata"]["ownerReferences"][0]["uid"] == "u-1"


def test_the_runtime_is_told_what_it_needs() -> None:
    body = runtime_daemon_set(hardware_class(intraOpThreads=2), INSTALL)
    assert environment(body) == {
        "NODE_NAME": "spec.nodeName",
        "POD_IP": "status.podIP",
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "FLEETFIT_STORE_DIR": "/var/lib/fleetfit",
        "FLEETFIT_HTTP_PORT": "8080",
        "FLEETFIT_GRPC_PORT": "8001",
        "FLEETFIT_HARDWARE_CLASS": "arm64-cpu",
        "FLEETFIT_PROVIDERS": "CPUExecutionProvider",
        "FLEETFIT_INTRA_OP_THREADS": "2",
    }


def test_variables_of_the_class_are_added_but_override_nothing() -> None:
    further = [{"name": "OMP_PROC_BIND", "value": "1"}, {"name": "NODE_NAME", "value": "forged"}]
    body = runtime_daemon_set(hardware_class(env=further), INSTALL)
    names = [each["name"] for each in container(body)["env"]]
    assert len(names) == len(set(names))
    assert environment(body)["OMP_PROC_BIND"] == "1"
    assert environment(body)["NODE_NAME"] == "spec.nodeName"


def test_credentials_and_claims_are_mounted_read_only_and_no_missing_secret_holds_a_pod_up() -> None:
    body = runtime_daemon_set(
        hardware_class(credentials=["model-store", "registry"], claims=["models.v1"]), INSTALL
    )
    volumes = {each["name"]: each for each in body["spec"]["template"]["spec"]["volumes"]}
    mounts = {each["mountPath"]: each for each in container(body)["volumeMounts"]}
    secret = mounts["/etc/fleetfit/credentials/model-store"]
    claim = mounts["/var/lib/fleetfit-claims/models.v1"]
    assert secret["readOnly"] is claim["readOnly"] is True
    assert volumes[secret["name"]]["secret"] == {
        "secretName": "model-store",
        "optional": True,
        "defaultMode": 0o400,
    }
    assert volumes[claim["name"]]["persistentVolumeClaim"] == {"claimName": "models.v1", "readOnly": True}
    assert "." not in claim["name"]
    told = environment(body)
    assert told["FLEETFIT_CREDENTIALS_DIRS"] == (
        "/etc/fleetfit/credentials/model-store,/etc/fleetfit/credentials/registry"
    )
    assert told["FLEETFIT_CLAIMS_DIR"] == "/var/lib/fleetfit-claims"


def test_public_keys_are_mounted_and_the_runtime_is_told_what_they_are_for() -> None:
    body = runtime_daemon_set(
        hardware_class(trustedKeys=["signers", "more.keys"], requireSignatures=True), INSTALL
    )
    volumes = {each["name"]: each for each in body["spec"]["template"]["spec"]["volumes"]}
    mounts = {each["mountPath"]: each for each in container(body)["volumeMounts"]}
    keys = mounts["/etc/fleetfit/trusted-keys/signers"]
    assert keys["readOnly"] is True
    assert volumes[keys["name"]]["configMap"] == {"name": "signers", "optional": True}
    told = environment(body)
    assert told["FLEETFIT_TRUSTED_KEYS_DIRS"] == (
        "/etc/fleetfit/trusted-keys/signers,/etc/fleetfit/trusted-keys/more.keys"
    )
    assert told["FLEETFIT_REQUIRE_SIGNATURES"] == "true"


def test_the_container_can_do_as_little_as_possible() -> None:
    context = container(runtime_daemon_set(hardware_class(), INSTALL))["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True


def test_an_unreachable_node_keeps_its_runtime() -> None:
    tolerations = runtime_daemon_set(hardware_class(), INSTALL)["spec"]["template"]["spec"]["tolerations"]
    forever = {each["key"] for each in tolerations if each["effect"] == "NoExecute"}
    assert {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"} <= forever
    assert all("tolerationSeconds" not in each for each in tolerations)


@pytest.mark.parametrize(("name", "present"), [(None, False), ("nvidia", True)])
def test_the_runtime_class_is_set_where_there_is_one(name: str | None, present: bool) -> None:
    pod = runtime_daemon_set(hardware_class(runtimeClassName=name), INSTALL)["spec"]["template"]["spec"]
    assert ("runtimeClassName" in pod) is present


def test_resources_and_tolerations_of_the_class_are_taken() -> None:
    body = runtime_daemon_set(
        hardware_class(
            resources={"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "100m"}},
            tolerations=[{"key": "edge", "operator": "Exists"}],
        ),
        INSTALL,
    )
    assert container(body)["resources"] == {"limits": {"nvidia.com/gpu": 1}, "requests": {"cpu": "100m"}}
    assert {"key": "edge", "operator": "Exists"} in body["spec"]["template"]["spec"]["tolerations"]
