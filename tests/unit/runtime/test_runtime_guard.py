"""Marks of what is being done with models, runs that do not end, and what faults add up to."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fleetfit_api.reasons import Reason
from fleetfit_runtime.agent.crash_book import WINDOW_S, CrashBook
from fleetfit_runtime.engine.flight_record import SLOTS, FlightRecord, Mark, Suspect
from fleetfit_runtime.engine.model_session import Array
from fleetfit_runtime.engine.run_watch import RunLimit, RunRefused, RunWatch
from fleetfit_runtime.engine.watchdog import Watchdog


def in_a_child(path: Path, mark: Mark, *, planned: bool = False) -> None:
    """Mark a model in a process that then ends at once."""
    child = os.fork()
    if child == 0:
        record = FlightRecord(path, "boot")
        slot = record.slot("model@t")
        slot.cells[slot.at] = mark
        if planned:
            record.end_planned()
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.parametrize("mark", [Mark.LOADING, Mark.RUNNING, Mark.HANGING])
def test_mark_survives_the_process(tmp_path: Path, mark: Mark) -> None:
    in_a_child(tmp_path / "record", mark)
    assert FlightRecord(tmp_path / "record", "boot").suspects == (Suspect("model@t", mark),)


def test_idle_model_planned_stop_power_cut_and_damage_blame_nobody(tmp_path: Path) -> None:
    path = tmp_path / "record"
    in_a_child(path, Mark.IDLE)
    assert FlightRecord(path, "boot").suspects == ()
    path.unlink()
    in_a_child(path, Mark.RUNNING, planned=True)
    assert FlightRecord(path, "boot").suspects == ()
    path.unlink()
    in_a_child(path, Mark.RUNNING)
    assert FlightRecord(path, "another boot").suspects == ()
    path.unlink()
    path.write_bytes(b"damaged" * 10_000)
    assert FlightRecord(path, "boot").suspects == ()


def test_record_that_another_process_uses_or_that_has_no_disk_is_kept_in_memory(tmp_path: Path) -> None:
    first = FlightRecord(tmp_path / "record", "boot")
    for record in (
        FlightRecord(tmp_path / "record", "boot"),
        FlightRecord(tmp_path / "no" / "record", "boot"),
    ):
        slot = record.slot("model")
        slot.cells[slot.at] = Mark.RUNNING
        assert record.marked
    assert not first.marked


def test_more_models_than_places_are_not_recorded_and_places_come_back() -> None:
    record = FlightRecord()
    slots = [record.slot(f"model {number}") for number in range(SLOTS)]
    further = record.slot("further")
    further.cells[further.at] = Mark.RUNNING
    assert not record.marked
    for slot in (further, *slots):
        record.release(slot)
    assert record.slot("again").cells is slots[0].cells


class Model:
    """Runs what it is told to, and looks at the world meanwhile."""

    def __init__(self) -> None:
        self.meanwhile: list[Any] = []
        self.options = SimpleNamespace(terminate=False)

    def __call__(self, _names: Sequence[str], _inputs: Mapping[str, Array], options: Any, /) -> list[Array]:
        for call in self.meanwhile:
            call()
        if options.terminate:
            raise RuntimeError("terminated")
        return []


def watched(limit_s: float = 1.0) -> tuple[Model, RunWatch, FlightRecord]:
    record, model = FlightRecord(), Model()
    return model, RunWatch(model, model.options, record.slot("m"), RunLimit(0.0, 1, limit_s)), record


def test_run_that_is_late_is_ended_and_the_next_one_runs() -> None:
    model, watch, record = watched()
    clock = [0.0]
    dog = Watchdog(grace_s=5.0, look_s=1e6, clock=lambda: clock[0])
    dog.add("m", watch)
    said: list[str] = []
    watch.on_late = lambda why: said.append(str(why))
    watch.on_hang = lambda why: said.append(str(why))
    watch.on_over = lambda: said.append("over")
    model.meanwhile = [dog.look, lambda: clock.__setitem__(0, 1.1), dog.look]
    with pytest.raises(RunRefused, match="took more than 1 s"):
        watch.run([], {"x": np.ones(1)})
    assert [word in text for word, text in zip(("told to end", "over"), said, strict=True)] == [True, True]
    assert not record.marked
    model.meanwhile = [dog.look]
    assert watch.run([], {"x": np.ones(1)}) == []
    dog.close()


def test_run_that_does_not_end_is_reported_once_and_stays_marked() -> None:
    model, watch, record = watched()
    clock = [0.0]
    dog = Watchdog(grace_s=5.0, look_s=1e6, clock=lambda: clock[0])
    dog.add("m", watch)
    hangs: list[str] = []
    watch.on_hang = lambda why: hangs.append(str(why))

    def later() -> None:
        clock[0] += 4.0
        dog.look()

    model.meanwhile = [dog.look, *[later] * 6, lambda: hangs.append(str(record._cells[watch.slot.at]))]
    with pytest.raises(RunRefused):
        watch.run([], {"x": np.ones(1)})
    assert hangs == ["a run of model 'm' hangs and could not be ended", str(int(Mark.HANGING))]
    dog.close()


def test_many_short_runs_are_not_one_long_run() -> None:
    model, watch, _ = watched()
    clock = [0.0]
    dog = Watchdog(grace_s=5.0, look_s=1e6, clock=lambda: clock[0])
    dog.add("m", watch)

    def later() -> None:
        clock[0] += 0.9
        dog.look()

    model.meanwhile = [later]
    for _ in range(5):
        assert watch.run([], {"x": np.ones(1)}) == []
    dog.close()


def test_limit_grows_with_the_p95_and_with_larger_inputs() -> None:
    limit = RunLimit(p95_s=1.0, warm_up_elements=10)
    assert limit.seconds({"x": np.ones(5)}) == 100.0
    assert limit.seconds({"x": np.ones(20)}) == 200.0
    assert RunLimit(p95_s=0.001, warm_up_elements=10).seconds({"x": np.ones(20)}) == 30.0


@pytest.mark.parametrize(
    ("mark", "limit", "reason"),
    [
        (Mark.LOADING, 2, Reason.MODEL_CRASHED),
        (Mark.RUNNING, 3, Reason.MODEL_CRASHED),
        (Mark.HANGING, 2, Reason.MODEL_HANGS),
    ],
)
def test_so_many_faults_bar_an_attempt_over_restarts(
    tmp_path: Path, mark: Mark, limit: int, reason: Reason
) -> None:
    path = tmp_path / "crashes.json"
    for _ in range(limit):
        book = CrashBook(path, lambda: 1000.0)
        book.open([])
        assert book.bar("a@1") is None
        book.open([Suspect("a@1", mark)])
        assert book.is_suspect("a@1")
        assert not book.is_suspect("b@1")
    after = CrashBook(path, lambda: 1e9)
    after.open([])
    failure = after.bar("a@1")
    assert failure is not None
    assert (failure.reason, failure.transient) == (reason, False)
    assert "assigned anew" in failure.message
    assert after.bar("a@2") is None
    after.keep({"a@2"})
    assert after.bar("a@1") is None


def test_faults_long_ago_do_not_count_and_a_load_that_succeeds_clears_those_of_loads(tmp_path: Path) -> None:
    clock = [0.0]
    book = CrashBook(tmp_path / "crashes.json", lambda: clock[0])
    for _ in range(5):
        clock[0] += WINDOW_S
        book.note_hang("a@")
        clock[0] += 1
    assert book.bar("a@") is None
    for _ in range(3):
        book.open([Suspect("b@", Mark.LOADING)])
        book.note_loaded("b@")
    assert book.bar("b@") is None
    (tmp_path / "crashes.json").write_bytes(b"{ damaged")
    book.open([])
    assert not book.is_suspect("a@")
