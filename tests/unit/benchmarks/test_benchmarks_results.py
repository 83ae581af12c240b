import json
from pathlib import Path

import pytest

from benchmarks.results import Figure, print_figures, print_table, write_results


def test_results_hold_figures_with_baselines_commit_date_and_machine(tmp_path: Path) -> None:
    figure = Figure(0.95, "ratio", {"other": 0.14}, bar=">= 0.9", detail={"seeds": [0.9, 1.0]})
    path = write_results("speed", {"x": figure, "y": Figure(3.0, "ms")}, tmp_path / "new")

    content = json.loads(path.read_text())
    assert path == tmp_path / "new" / "speed.json"
    assert content["figures"]["x"]["value"] == 0.95
    assert content["figures"]["x"]["baseline"] == {"other": 0.14}
    assert content["figures"]["x"]["detail"] == {"seeds": [0.9, 1.0]}
    assert content["figures"]["y"] == {"value": 3.0, "unit": "ms", "baseline": {}}
    assert content["machine"]["cpus"] >= 1
    assert content["date"].endswith("Z")


def test_what_json_cannot_express_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_results("speed", {"x": Figure(float("nan"), "ms")}, tmp_path)


def test_tables_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Devices", ("name", "ratio"), [("pixel2", 0.5), ("a", 12.25)])
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Devices",
        "  name    ratio",
        "  ------  -----",
        "  pixel2    0.5",
        "  a       12.25",
    ]


def test_figures_are_printed_with_what_they_must_reach(capsys: pytest.CaptureFixture[str]) -> None:
    print_figures({"x": Figure(0.5, "ratio", {"other": 0.25}, bar=">= 0.4")})
    assert ">= 0.4" in capsys.readouterr().out
