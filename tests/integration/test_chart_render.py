"""What the chart renders, and what it refuses to render."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleetfit_api import HardwareClass
from fleetfit_kube import ApiClient
from fleetfit_kube.resources import NAMESPACES, PODS, SERVICE_ACCOUNTS

from localfleet.testing import CommandLine

CHART = Path(__file__).parents[2] / "charts/fleetfit"
APP_VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
EVERYTHING = ",".join(
    [
        "networkPolicy.enabled=true",
        "metrics.serviceMonitor.enabled=true",
        "metrics.podMonitor.enabled=true",
        "metrics.prometheusRule.enabled=true",
        "metrics.grafanaDashboard.enabled=true",
        "operator.podDisruptionBudget.enabled=true",
        "retraining.enabled=true",
    ]
)


def render(helm: CommandLine, *arguments: str) -> list[dict[str, Any]]:
    text = helm("template", "fleetfit", str(CHART), "--namespace", "fleetfit-system", *arguments)
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


@pytest.mark.parametrize("values", ["operator.replicas=1", EVERYTHING], ids=["defaults", "everything"])
def test_lint_has_no_complaint(helm: CommandLine, values: str) -> None:
    helm("lint", str(CHART), "--strict", "--set", values)


def test_by_default_there_is_nothing_that_needs_another_operator(helm: CommandLine) -> None:
    documents = render(helm)
    groups = {document["apiVersion"].split("/")[0] for document in documents}
    assert "monitoring.coreos.com" not in groups
    assert not of_kind(documents, "NetworkPolicy")
    assert not of_kind(documents, "PodDisruptionBudget")
    assert not of_kind(documents, "CronJob")


def test_everything_can_be_switched_on(helm: CommandLine) -> None:
    documents = render(helm, "--set", EVERYTHING)
    kinds = {document["kind"] for document in documents}
    assert {"ServiceMonitor", "PodMonitor", "PrometheusRule", "NetworkPolicy", "PodDisruptionBudget"} <= kinds
    dashboard = of_kind(documents, "ConfigMap")[0]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["fleetfit.json"])["title"] == "Fleetfit"
    alerts = of_kind(documents, "PrometheusRule")[0]["spec"]["groups"][0]["rules"]
    assert all(alert["annotations"]["summary"] for alert in alerts)


def test_the_retraining_writes_the_config_map_that_the_operator_reads_and_no_other(helm: CommandLine) -> None:
    documents = render(helm, "--set", "retraining.enabled=true,retraining.configMap=taught,rbac.create=true")
    job = of_kind(documents, "CronJob")[0]
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert "--config-map=taught" in pod["containers"][0]["command"]
    operator = of_kind(documents, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "FLEETFIT_MODEL_CONFIG_MAP", "value": "taught"} in operator["env"]
    assert pod["containers"][0]["image"] == operator["image"]
    rights = {
        role["metadata"]["name"]: (rule["resourceNames"], rule["verbs"])
        for role in of_kind(documents, "Role")
        for rule in role["rules"]
        if rule["resources"] == ["configmaps"]
    }
    assert rights == {
        "fleetfit-operator": (["taught"], ["get"]),
        pod["serviceAccountName"]: (["taught"], ["get", "create", "patch"]),
    }


def test_image_tags_are_the_apps_version_unless_set(helm: CommandLine) -> None:
    def images(*arguments: str) -> set[str]:
        documents = render(helm, *arguments)
        containers = of_kind(documents, "Deployment")[0]["spec"]["template"]["spec"]["containers"]
        classes = of_kind(documents, "HardwareClass")
        return {containers[0]["image"], *(item["spec"]["runtime"]["image"] for item in classes)}

    names = ("operator", "runtime", "runtime-openvino")
    assert images() == {f"fleetfit/{name}:{APP_VERSION}" for name in names}
    tags = ("--set", "operator.image.tag=dev,runtime.tag=dev,runtime.images.cuda=mirror/cuda")
    assert images(*tags) == {*(f"fleetfit/{name}:dev" for name in names), "mirror/cuda:dev"}


def test_hardware_classes_are_those_of_the_files(helm: CommandLine) -> None:
    rendered = {item["metadata"]["name"]: item for item in of_kind(render(helm), "HardwareClass")}
    files = {path.stem: path for path in (CHART / "files/hardware-classes").glob("*.yaml")}
    assert rendered.keys() == files.keys()
    for name, path in files.items():
        from_file = HardwareClass.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        from_chart = HardwareClass.model_validate(rendered[name])
        image = {"runtime": {"image"}}
        assert from_chart.spec.model_dump(exclude=image) == from_file.spec.model_dump(exclude=image)


def test_a_class_can_be_changed_and_left_out(helm: CommandLine, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    limits = {"nvidia.com/gpu": 1}
    runtime = {"runtimeClassName": "nvidia", "resources": {"limits": limits}}
    classes = {"disabled": ["amd-gpu"], "overrides": {"nvidia-gpu": {"priority": 81, "runtime": runtime}}}
    values.write_text(json.dumps({"hardwareClasses": classes}), encoding="utf-8")

    rendered = {
        item["metadata"]["name"]: item["spec"]
        for item in of_kind(render(helm, "--values", str(values)), "HardwareClass")
    }
    assert "amd-gpu" not in rendered
    nvidia = rendered["nvidia-gpu"]
    assert nvidia["priority"] == 81
    assert nvidia["runtime"]["runtimeClassName"] == "nvidia"
    assert nvidia["runtime"]["resources"]["limits"] == limits
    assert nvidia["runtime"]["resources"]["requests"]["cpu"] == "100m"
    assert nvidia["runtime"]["providers"][0] == "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("operator.replica=2", "replica"),
        ("operator.replicas=two", "replicas"),
        ("metrics.serviceMonitor.interval=fast", "interval"),
        ("retraining.schedule=weekly", "schedule"),
        ("retraining.configMap=Fleetfit_Model", "configMap"),
        ("hardwareClasses.disabled={gpu}", 'there is no class "gpu"; the classes are amd-gpu, arm64-cpu'),
        ("hardwareClasses.overrides.gpu.priority=1", 'there is no class "gpu"'),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: CommandLine, setting: str, sentence: str) -> None:
    result = helm.run("template", "fleetfit", str(CHART), "--set", setting)
    assert result.returncode != 0
    assert sentence in result.stderr


def test_every_value_is_in_the_schema_and_has_a_comment_nearby() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def missing(part: dict[str, Any], described: dict[str, Any], path: str) -> list[str]:
        found: list[str] = []
        for name, value in part.items():
            if name not in described.get("properties", {}):
                found += [f"{path}{name}"] if described.get("properties") else []
            elif isinstance(value, dict):
                found += missing(value, described["properties"][name], f"{path}{name}.")
        return found

    assert missing(values, schema, "") == []


async def test_the_charts_pods_may_run_where_only_restricted_pods_may(
    admin: ApiClient, namespace: str, helm: CommandLine
) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await admin.merge_patch(NAMESPACES, namespace, label)
    documents = render(helm, "--set", "retraining.enabled=true")
    operator = of_kind(documents, "Deployment")[0]["spec"]["template"]["spec"]
    job = of_kind(documents, "CronJob")[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for account in (operator["serviceAccountName"], job["serviceAccountName"]):
        await admin.create(SERVICE_ACCOUNTS, {"metadata": {"name": account}}, namespace)
    test_pod = of_kind(documents, "Pod")[0]
    for name, spec in (("operator", operator), ("test", test_pod["spec"]), ("retraining", job)):
        pod = await admin.create(PODS, {"metadata": {"name": name}, "spec": spec}, namespace)
        assert pod["metadata"]["name"] == name
