"""The seeds of the fuzzer, and what it found before, as ordinary tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz_seeds import SEEDS
from fuzz_targets import TARGETS
from fuzz_world import FuzzWorld

REGRESSIONS = Path(__file__).parent / "regressions"


@pytest.fixture(scope="module")
def world() -> Iterator[FuzzWorld]:
    made = FuzzWorld()
    yield made
    made.close()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_was_found_are_borne(world: FuzzWorld, name: str) -> None:
    found = [path.read_bytes() for path in sorted((REGRESSIONS / name).glob("*"))]
    for data in [b"", *SEEDS[name], *found]:
        TARGETS[name](world, data)


def test_a_fault_is_seen(world: FuzzWorld) -> None:
    class Broken:
        def connection_made(self, _transport: object) -> None:
            pass

        def data_received(self, _data: bytes) -> None:
            world.loop.call_soon(lambda: 1 / 0)

        def eof_received(self) -> bool:
            return False

        def connection_lost(self, _error: object) -> None:
            pass

    with pytest.raises(AssertionError, match="raised on the loop"):
        world.talk(Broken(), [b"x"], lambda _written: True)
