"""What is counted about infer requests, runs and loads, for the metrics; written on the event loop only.

The labels are bounded: model names come from assignments, of which a node has at most 64, requests for other names are
counted under the empty name, and of each model only the latest variants are kept.
"""

import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from fleetfit_runtime.engine.served_model import ServedModel
from fleetfit_runtime.serve.infer_ledger import Failure
from fleetfit_runtime.serve.request_job import RequestJob
from fleetfit_runtime.telemetry.counts import BATCH_BOUNDS, Histogram

MOST_MODELS: Final = 128
MOST_VARIANTS: Final = 4

# The end of a `traceparent` that must not displace one of a trace that is kept somewhere.
_UNSAMPLED: Final = b"-00"

RunKey = tuple[str, str]


class RunSeries:
    """What is counted of the runs of one variant on one provider.

    Attributes:
        inference: Time in the model.
        queue: Time until the run began.
        batch: Items that ran together.
    """

    __slots__ = ("batch", "inference", "queue")

    def __init__(self) -> None:
        self.inference = Histogram()
        self.queue = Histogram()
        self.batch = Histogram(BATCH_BOUNDS)


class ModelSeries:
    """What is counted of one model.

    Attributes:
        requests: Time from a parsed request to its answer.
        codes: Requests by HTTP status.
        failures: Requests without outputs, by reason.
        runs: Its runs by variant and provider, the latest last.
    """

    __slots__ = ("codes", "failures", "requests", "runs")

    def __init__(self) -> None:
        self.requests = Histogram()
        self.codes: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.runs: dict[RunKey, RunSeries] = {}


_Series = tuple[ModelSeries, RunSeries]


class RequestCounts:
    """Counts requests and loads; the observer of the servers.

    Args:
        exemplars: whether buckets name a trace that fell into them, of requests that belong to a sampled one.
        now_s: the wall clock, for exemplars.
    """

    def __init__(self, *, exemplars: bool = False, now_s: Callable[[], float] = time.time) -> None:
        self._exemplars = exemplars
        self._now_s = now_s
        self._models: dict[str, ModelSeries] = {}
        self._latest: tuple[weakref.ref[ServedModel] | None, _Series] = (None, (ModelSeries(), RunSeries()))
        self.load_s: dict[str, float] = {}

    def models(self) -> Iterator[tuple[str, ModelSeries]]:
        """Return what was counted by model name."""
        return iter(list(self._models.items()))

    # RequestObserver

    def served(self, job: RequestJob, duration_s: float) -> None:
        """Count a request that was answered with outputs."""
        known, series = self._latest
        if known is None or known() is not job.model:
            series = self._series_of(job.model)
        model, runs = series
        model.requests.observe(duration_s)
        model.codes[200] += 1
        _count_run(runs, job)
        if self._exemplars:
            self._exemplify(series, job, duration_s)

    def failed(self, failure: Failure) -> None:
        """Count a request that was not."""
        model = self._model(failure.model)
        if failure.status:
            model.codes[failure.status] += 1
            model.requests.observe(failure.duration_s)
        model.failures[failure.reason] += 1
        job = failure.job
        if job is not None and job.run_s:
            _count_run(self._series_of(job.model)[1], job)

    # loads

    def loaded(self, model: str, duration_s: float) -> None:
        """Note how long the last load of a model took."""
        self.load_s[model] = duration_s

    def forget(self, model: str) -> None:
        """Drop a model that is no longer assigned."""
        self._models.pop(model, None)
        self.load_s.pop(model, None)
        self._latest = (None, self._latest[1])

    def _series_of(self, served: ServedModel) -> _Series:
        model = self._model(served.name)
        key = (served.variant, served.provider)
        runs = model.runs.get(key)
        if runs is None:
            while len(model.runs) >= MOST_VARIANTS:
                del model.runs[next(iter(model.runs))]
            runs = model.runs[key] = RunSeries()
        # Looked up again only when another model is asked; not held, since its memory goes with its last request.
        self._latest = (weakref.ref(served), (model, runs))
        return model, runs

    def _model(self, name: str) -> ModelSeries:
        model = self._models.get(name)
        if model is None:
            while len(self._models) >= MOST_MODELS:
                self.forget(next(iter(self._models)))
            model = self._models[name] = ModelSeries()
        return model

    def _exemplify(self, series: _Series, job: RequestJob, duration_s: float) -> None:
        trace_parent = job.asker.trace_parent
        if trace_parent is None or trace_parent.endswith(_UNSAMPLED):
            return
        at_s = self._now_s()
        series[0].requests.exemplify(duration_s, trace_parent, at_s)
        series[1].inference.exemplify(job.run_s, trace_parent, at_s)


def _count_run(runs: RunSeries, job: RequestJob) -> None:
    runs.inference.observe(job.run_s)
    runs.queue.observe(job.begun_s - job.queued_s)
    together = job.together or 1
    if together == 1:
        runs.batch.observe(1)
    else:
        # Each of the requests of a batch brings its share of the one run.
        runs.batch.observe_share(together, (job.items or 1) / together)


class NoCounts:
    """Counts nothing: the observer where metrics are off."""

    def served(self, job: RequestJob, duration_s: float) -> None:
        """Nothing to do."""

    def failed(self, failure: Failure) -> None:
        """Nothing to do."""
