"""The dashboard and the alerts of the chart ask only for metrics that operator and runtime have."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from fleetfit_operator.telemetry.metrics import Metrics
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.probe.node_probe import NodeReading
from fleetfit_runtime.telemetry.gauges import Gauges
from fleetfit_runtime.telemetry.metrics import RuntimeCollector
from fleetfit_runtime.telemetry.node_metrics import NodeCollector
from fleetfit_runtime.telemetry.request_counts import RequestCounts
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

FILES = Path(__file__).parents[3] / "charts/fleetfit/files"
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}


def sample_names(families: Iterable[Metric]) -> set[str]:
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}


@pytest.fixture(scope="module")
def known() -> set[str]:
    operator = CollectorRegistry()
    Metrics(operator)
    gauges = Gauges(ready=lambda: True, connections=int, store_bytes=int, store_free_bytes=int)
    runtime = RuntimeCollector(RequestCounts(), ModelTable(), gauges, {"version": "1"})
    node = NodeCollector(NodeReading)
    return set[str]().union(*(sample_names(each.collect()) for each in (operator, runtime, node)))


@pytest.mark.parametrize("name", ["alerts.yaml", "dashboards/fleetfit.json"])
def test_only_metrics_that_exist_are_asked_for(name: str, known: set[str]) -> None:
    asked = set(re.findall(r"\bfleetfit_[a-z0-9_]+", (FILES / name).read_text(encoding="utf-8")))
    assert len(asked) >= 4
    assert asked <= known
