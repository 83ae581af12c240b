"""Finding commands, help, and what a user reads when something is wrong."""

import os
import shlex
import subprocess
import sys

import pytest
from fleetfit_cli.__main__ import main
from fleetfit_cli.command_line import command_parser
from fleetfit_cli.command_table import COMMANDS, Command

from tests.unit.cli.onnx_files import VARIANTS, Cli

HEAVY = ("onnx", "onnxruntime", "lightgbm", "numpy", "yaml", "pydantic")
by_name = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def modules_after(*words: str) -> set[str]:
    program = (
        "import sys\nfrom fleetfit_cli.__main__ import main\n"
        f"try: main({list(words)!r})\nexcept SystemExit: pass\n"
        "sys.stderr.write('\\n'.join(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stderr.split())


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_lists_every_command(words: tuple[str, ...], cli: Cli) -> None:
    result = cli(*words)
    assert result.status == 0
    assert all(f"  {command.name} " in result.output for command in COMMANDS)


def test_a_group_lists_its_own_commands(cli: Cli) -> None:
    assert cli("suite") == cli("suite", "--help")
    assert "suite build" in cli("suite").output
    assert "measure" not in cli("suite").output


def test_help_imports_nothing_heavy() -> None:
    assert modules_after("--help").isdisjoint(HEAVY)


@by_name
def test_the_help_of_a_command_needs_no_extra(command: Command) -> None:
    assert modules_after(*command.words, "--help").isdisjoint(set(HEAVY) - {"pydantic"})


@by_name
def test_the_help_of_a_command_has_examples(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*command.words, "--help"])
    assert exit_.value.code == 0
    assert f"examples:\n  fleetfit {command.name}" in capsys.readouterr().out


@by_name
def test_the_examples_can_be_typed(command: Command) -> None:
    module = command.load()
    for line in module.EXAMPLES.splitlines():
        words = shlex.split(line.strip().partition("    ")[0])
        start = 1 + len(command.words)
        assert words[:start] == ["fleetfit", *command.words]
        command_parser(command, module).parse_intermixed_args(words[start:])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["foo"], "there is no command 'foo'; there are suite, graphs, measure, train, references, retrain"),
        (["suit", "build"], "there is no command 'suit'; did you mean 'suite'?"),
        (["suite", "buid"], "there is no command 'suite buid'; did you mean 'build'?"),
        (["suite", "describe"], "the following arguments are required: FILE"),
        (["suite", "describe", "--output", "xml", "a.onnx"], "invalid choice: 'xml'"),
        (["suite", "describe", "--unknown", "a.onnx"], "unrecognized arguments: --unknown"),
        (["suite", "describe", "--shape", "image", "a.onnx"], "write INPUT=SIZES, as in image=1,3,224,224"),
        (["suite", "describe", "--shape", "image=1,0", "a.onnx"], "'image=1,0' is no shape"),
        (["suite", "describe", "absent.onnx"], "absent.onnx cannot be read: No such file or directory"),
        (["suite", "describe", VARIANTS], "cannot be read: Is a directory"),
        (["suite", "describe", __file__], "not an ONNX file"),
        (["suite", "build"], "give the suite's name and its ONNX files"),
        (["suite", "build", "digits"], "give the suite's name and its ONNX files"),
        (["suite", "build", "digits", "a.onnx:98"], "'98' is no accuracy: it is a fraction, 98% is 0.98"),
        (["suite", "build", "digits", "a.onnx:nan"], "'nan' is no accuracy"),
        (["suite", "build", "digits", "a.onnx:0.9"], "a.onnx cannot be read"),
        (["suite", "build", "d", "--accuracy", "0.9", "a.onnx"], "write NAME=ACCURACY, as in cnn8-int8=0.98"),
        (["suite", "build", "d", "--precision", "a=fp8", "a.onnx"], "there are fp32, fp16, bf16, int8, int4"),
        (["suite", "build", "--from", "absent.yaml"], "absent.yaml cannot be read"),
        (["suite", "build", "digits", "--from", "suite.yaml"], "with --from the suite's name"),
        (["graphs"], "the following arguments are required: DIR"),
        (["graphs", "--share", "0", "build"], "'0' is no number above 0"),
        (["measure", "cpu-t1"], "the following arguments are required: --machine, --data, --budget-s"),
        (["train", "--data", "absent"], "there are no measurements in absent"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_wrong_use_is_told_in_one_line(words: list[object], sentence: str, cli: Cli) -> None:
    result = cli(*words)
    assert result.status == 2
    assert result.output == ""
    assert sentence in result.errors
    assert result.errors.startswith("fleetfit: ")
    assert result.errors.count("\n") == 1


@pytest.mark.parametrize(("package", "extra"), [("onnx", "cli"), ("yaml", "cli"), ("lightgbm", "cli")])
def test_a_missing_package_is_told_with_the_extra_that_brings_it(
    package: str, extra: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object) -> None:
        raise ModuleNotFoundError(name=f"{package}.part")

    monkeypatch.setattr("fleetfit_cli.commands.train.run", missing)
    result = cli("train")
    assert result.status == 1
    assert f"needs the Python package {package}, which is not installed" in result.errors
    assert f"pip install 'fleetfit[{extra}]'" in result.errors


def test_a_bug_is_not_taken_for_a_missing_package(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ModuleNotFoundError(name="fleetfit_cli.absent")

    monkeypatch.setattr("fleetfit_cli.commands.train.run", broken)
    with pytest.raises(ModuleNotFoundError):
        cli("train")


def test_without_onnx_the_command_itself_says_so() -> None:
    program = (
        "import sys\nsys.modules['onnx'] = None\nfrom fleetfit_cli.__main__ import main\n"
        f"sys.exit(main(['suite', 'describe', {str(VARIANTS / 'mlp-fp32.onnx')!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "pip install 'fleetfit[cli]'" in result.stderr


def test_ctrl_c_ends_quietly(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fleetfit_cli.commands.train.run", interrupted)
    assert cli("train") == (130, "", "")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "fleetfit_cli", "--help"]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert result.stderr == ""
    assert result.returncode == 1
