"""Run the benchmark: `python -m benchmarks.select`. Prints tables, writes `build/bench/select.json` and plots.

Constants, of the project and of the others, were set on seeds from 100; reported are the seeds 0 to 5.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.results import RESULTS_DIRECTORY, Figure, print_figures, print_table, write_results
from benchmarks.select.asking import Asking, measure_asking
from benchmarks.select.devices import DATA, Devices
from benchmarks.select.flips import Flips, measure_flips, spread
from benchmarks.select.forging import Forging, measure_forging
from benchmarks.select.plots import draw_flips, draw_qoe, draw_regret
from benchmarks.select.regret import OWN, Regret, T, measure_regret, taste_of
from benchmarks.select.scoring import measure_scoring


def main(arguments: Sequence[str] | None = None) -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.select", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="latencies of the devices")
    parser.add_argument("--seeds", type=int, default=6, help="number of seeds, from 0")
    parser.add_argument("--out", type=Path, default=RESULTS_DIRECTORY, help="where to write")
    options = parser.parse_args(arguments)
    devices = Devices.load(options.data)
    seeds = range(options.seeds)
    figures: dict[str, Figure] = {}
    regrets = [measure_regret(devices, seed) for seed in seeds]
    figures["regret_growth"] = _report_regret(regrets, seeds)
    flips = [measure_flips(devices, seed) for seed in seeds]
    figures["flip_ratings"] = _report_flips(flips)
    figures["ask5_qoe_ratio"] = _report_asking([measure_asking(devices, seed) for seed in seeds])
    figures["forged_flips"] = _report_forging([measure_forging(devices, seed) for seed in seeds])
    value_ms, baselines = measure_scoring()
    figures["score_200k_ms"] = Figure(value_ms, "ms", baselines, bar="<= 150")
    curves = {name: [each.curves[name] for each in regrets] for name in regrets[0].curves}
    draw_regret(curves, options.out / "select_regret.png")
    last = {name: np.mean([each.last_qoe[name] for each in regrets], axis=0) for name in regrets[0].last_qoe}
    draw_qoe(devices.names, last, options.out / "select_qoe.png")
    draw_flips(flips, options.out / "select_flips.png")
    print_figures(figures)
    print(f"\nwritten: {write_results('select', figures, options.out)}")


def _report_regret(regrets: Sequence[Regret], seeds: Sequence[int]) -> Figure:
    names = list(regrets[0].curves)
    regret_at = {
        at: {name: float(np.mean([each.curves[name][at - 1] for each in regrets])) for name in names}
        for at in (100, T, 2 * T)
    }
    growths = {name: float(np.mean([each.growth(name) for each in regrets])) for name in names}
    print_table(
        f"Cumulative regret, mean of {len(regrets)} seeds (T = {T} ratings of the fleet of 27 devices)",
        ("way to choose", "at 100", "at T", "at 2 T", "growth"),
        [(name, *(regret_at[at][name] for at in regret_at), growths[name]) for name in names],
    )
    by_seed = [each.growth(OWN) for each in regrets]
    print_table(
        "By seed",
        ("seed and taste", "at T", "at 2 T", "growth"),
        [
            (
                f"{seed} {taste_of(seed).name.lower()}",
                float(each.curves[OWN][T - 1]),
                float(each.curves[OWN][-1]),
                each.growth(OWN),
            )
            for seed, each in zip(seeds, regrets, strict=True)
        ],
    )
    return Figure(
        growths[OWN],
        "ratio",
        {name: growth for name, growth in growths.items() if name != OWN},
        bar="<= 1.5",
        detail={
            "by_seed": by_seed,
            "T": T,
            "regret_at_T": regret_at[T],
            "regret_at_2T": regret_at[2 * T],
        },
    )


def _report_flips(flips: Sequence[Flips]) -> Figure:
    by_kind = {
        "to_speed": spread([count for each in flips for count in each.to_speed]),
        "to_accuracy": spread([count for each in flips for count in each.to_accuracy]),
        "one_node_to_speed": spread([count for each in flips for count in each.alone]),
    }
    columns = ("nodes", "median", "p90", "max", "not_changed")
    print_table(
        "Ratings of a node until a flipped taste changed its choice",
        ("flip", *columns),
        [(kind, *(found.get(column, float("nan")) for column in columns)) for kind, found in by_kind.items()],
    )
    return Figure(by_kind["to_speed"]["median"], "ratings", bar="<= 30", detail=by_kind)


def _report_asking(asked: Sequence[Asking]) -> Figure:
    means = {
        name: float(np.mean([getattr(each, name) for each in asked]))
        for name in ("qoe_asked", "qoe_all", "qoe_none", "qoe_oracle", "share")
    }
    print_table("True mean QoE by how many are asked", tuple(means), [tuple(means.values())])
    ratios = [each.ratio for each in asked]
    baseline = {
        "no_ratings": means["qoe_none"] / means["qoe_all"],
        "oracle": means["qoe_oracle"] / means["qoe_all"],
    }
    return Figure(
        float(np.mean(ratios)), "ratio", baseline, bar=">= 0.98", detail={"by_seed": ratios, **means}
    )


def _report_forging(found: Sequence[dict[str, Forging]]) -> Figure:
    kinds = list(found[0])
    total = {kind: sum((each[kind] for each in found), Forging()) for kind in kinds}
    print_table(
        "1,000 ratings of one source",
        ("attack", "trials", "accepted each", "flipped", "hastened", "held up"),
        [
            (kind, each.trials, each.accepted / each.trials, each.flipped, each.hastened, each.held_up)
            for kind, each in total.items()
        ],
    )
    return Figure(
        float(sum(each.flipped for each in total.values())),
        "choices",
        bar="0",
        detail={
            kind: {"trials": each.trials, "hastened": each.hastened, "held_up": each.held_up}
            for kind, each in total.items()
        },
    )


if __name__ == "__main__":
    main()
