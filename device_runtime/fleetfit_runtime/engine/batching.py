"""Runs jobs, those that may run together as one batch: stack the inputs, run once, split the outputs.

Runs on the event loop for quick models and in a model's thread for others. Only models whose items were proven to be
independent of each other get here with more than one item at a time.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fleetfit_runtime.engine.inference_job import NO_DEADLINE_S, InferenceJob
from fleetfit_runtime.engine.model_session import RunModel
from fleetfit_runtime.engine.run_watch import RunRefused

Clock = Callable[[], float]


def run_jobs(
    jobs: Sequence[InferenceJob], run: RunModel, most_items: int, clock: Clock = time.perf_counter
) -> None:
    """Prepare and run jobs in order, up to so many items at a time; afterwards each is finished, failed or expired.

    Args:
        jobs: the jobs; those that were abandoned are left as they are.
        run: runs the model.
        most_items: items of a batch; a single job may have more.
        clock: the engine's clock.
    """
    ready: list[InferenceJob] = []
    for job in jobs:
        if job.abandoned:
            continue
        if job.deadline_s != NO_DEADLINE_S and clock() > job.deadline_s:
            job.expire()
        elif job.prepare():
            ready.append(job)
    if len(ready) == 1:
        _run_alone(ready[0], run, clock)
        return
    for group in _groups(ready, most_items):
        if len(group) == 1:
            _run_alone(group[0], run, clock)
        else:
            _run_group(group, run, clock)


def _groups(jobs: Sequence[InferenceJob], most_items: int) -> Iterator[list[InferenceJob]]:
    group: list[InferenceJob] = []
    items = 0
    for job in jobs:
        if group and not (_fit(group[0], job) and items + job.items <= most_items):
            yield group
            group, items = [], 0
        group.append(job)
        items += job.items
    if group:
        yield group


def _fit(one: InferenceJob, other: InferenceJob) -> bool:
    key = one.batch_key
    return key is not None and (key is other.batch_key or key == other.batch_key)


def _run_alone(job: InferenceJob, run: RunModel, clock: Clock) -> None:
    job.begun_s = begun_s = clock()
    try:
        arrays = run(job.output_names, job.inputs)
    except Exception as error:
        # Whatever ONNX Runtime raises is this request's answer, not the server's end.
        job.fail(error)
        return
    job.run_s = clock() - begun_s
    job.together = max(1, job.items)  # Inputs that cannot be joined are one item.
    job.finish(arrays)


def _run_group(group: Sequence[InferenceJob], run: RunModel, clock: Clock) -> None:
    begun_s = clock()
    first = group[0]
    try:
        stacked = {name: np.concatenate([job.inputs[name] for job in group]) for name in first.inputs}
        arrays = run(first.output_names, stacked)
    except RunRefused as refused:
        # It took too long; so would each of them that is at fault, and the others would wait for it.
        for job in group:
            job.fail(refused)
        return
    except Exception:
        # One of them may be at fault; the others must not suffer for it.
        for job in group:
            _run_alone(job, run, clock)
        return
    run_s = clock() - begun_s
    total = sum(job.items for job in group)
    at = 0
    for job in group:
        end = at + job.items
        job.begun_s, job.run_s, job.together = begun_s, run_s, total
        job.finish([array[at:end] for array in arrays])
        at = end
