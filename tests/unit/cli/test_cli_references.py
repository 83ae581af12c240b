"""What `fleetfit references` says. How the networks are chosen is tested with the design."""

from pathlib import Path

from fleetfit_cli.commands.references import comparison

from tests.unit.cli.onnx_files import Cli


def test_the_chosen_are_shown_beside_those_in_use() -> None:
    assert comparison(["b", "d"], ["a", "b"], 0.05, 0.1) == (
        " 1  b  in use\n"
        " 2  d\n"
        "1 of 2 are in use; not chosen: a\n"
        "variance left: 5.00% by the chosen, 10.00% by those in use\n"
    )


def test_a_set_that_is_still_the_best_is_said_to_be() -> None:
    assert "2 of 2 are in use; not chosen: none\n" in comparison(["b", "a"], ["a", "b"], 0.1, 0.1)


def test_without_measurements_it_says_how_to_make_some(tmp_path: Path, cli: Cli) -> None:
    result = cli("references", "--data", tmp_path)
    assert result.status == 2
    assert result.errors == (
        f"fleetfit: references: no measurements under {tmp_path}: make some with `fleetfit measure`\n"
    )
