"""The dashboard and the alerts of the chart ask only for metrics that operator and runtime have."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from fleetfit_operator.telemetry.metrics import Metrics
from fleetfit_runtime.engine.model_table import ModelTable
from fleetfit_runtime.telemetry.metrics import Gauges, RequestCounts, RuntimeCollector
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
    return sample_names(operator.collect()) | sample_names(runtime.collect())


@pytest.mark.parametrize("name", ["alerts.yaml", "dashboards/fleetfit.json"])
def test_only_metrics_that_exist_are_asked_for(name: str, known: set[str]) -> None:
    asked = set(re.findall(r"\bfleetfit_[a-z0-9_]+", (FILES / name).read_text(encoding="utf-8")))
    assert len(asked) >= 4
    assert asked <= known
