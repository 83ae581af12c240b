"""Turns of reference runs: no more at once than slots, and a held turn goes with its holder."""

import threading
from pathlib import Path

import pytest
from fleetfit_runtime.probe.turns import Turns


class MustWaitError(Exception):
    pass


def _refuse_to_wait(_: float) -> None:
    raise MustWaitError


def test_there_are_as_many_turns_as_slots(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "turns", slots=2, sleep=_refuse_to_wait)
    with turns.turn(), turns.turn(), pytest.raises(MustWaitError), turns.turn():
        pass


def test_a_turn_is_free_again_when_its_holder_is_done(tmp_path: Path) -> None:
    turns = Turns(tmp_path, slots=1, sleep=_refuse_to_wait)
    with turns.turn():
        pass
    with turns.turn():
        pass


def test_who_waits_goes_on_as_soon_as_the_turn_is_free(tmp_path: Path) -> None:
    waiting, done = threading.Event(), threading.Event()

    def wait(_: float) -> None:
        waiting.set()
        done.wait(5)

    with Turns(tmp_path, slots=1).turn():
        thread = threading.Thread(target=lambda: _take(Turns(tmp_path, slots=1, sleep=wait)))
        thread.start()
        assert waiting.wait(5)
    done.set()
    thread.join(5)
    assert not thread.is_alive()


def _take(turns: Turns) -> None:
    with turns.turn():
        pass
