"""Fuzzes one target by coverage: `python tests/fuzz/fuzz_run.py TARGET SECONDS ARTIFACTS [libFuzzer options]`.

What breaks the target is written to the folder ARTIFACTS; put it under regressions/TARGET once it is understood.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fleetfit_runtime.serve", "httptools", "simdjson"]):
    from fuzz_seeds import SEEDS
    from fuzz_targets import TARGETS
    from fuzz_world import MAX_BODY_BYTES, FuzzWorld

REGRESSIONS = Path(__file__).parent / "regressions"


def main() -> None:
    """Fuzz until the time is up; the exit status is not 0 when something was found."""
    name, seconds, artifacts, *options = sys.argv[1:]
    Path(artifacts).mkdir(parents=True, exist_ok=True)
    world = FuzzWorld()
    with tempfile.TemporaryDirectory() as corpus:
        known = sorted((REGRESSIONS / name).glob("*"))
        for number, seed in enumerate([*SEEDS[name], *(path.read_bytes() for path in known)]):
            (Path(corpus) / f"seed{number}").write_bytes(seed)
        atheris.Setup(
            [
                sys.argv[0],
                f"-max_total_time={seconds}",
                f"-artifact_prefix={artifacts}/{name}-",
                f"-max_len={MAX_BODY_BYTES + 1024}",
                "-timeout=20",
                "-rss_limit_mb=2048",
                "-print_final_stats=1",
                *options,
                corpus,
            ],
            lambda data: TARGETS[name](world, data),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
