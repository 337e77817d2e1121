"""What the command says of itself: at once, since nothing is loaded for it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.cli.options import INPUT, RESULTS
from SegHiResCAMLib.records.question import HOW, WHAT, WHERE, Question, options_of

GROUPS = ["demo", "segment", "explain", "layers", "methods", "models", "info", "describe"]
COMMANDS = [[], *([one] for one in GROUPS), *(["models", one] for one in ("get", "add", "remove", "clear"))]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_helps_with_an_example_and_names_no_type_of_a_flag(command: list[str]) -> None:
    for option in ("--help", "-h"):
        code, out, _ = run(*command, option)
        assert code == 0
        assert "Example: seghirescam" in out or not command
        assert "bool" not in out.casefold()


def test_the_options_of_explain_stand_in_groups() -> None:
    _, out, _ = run("explain", "--help")
    titles = {line.strip("╭─╮ ") for line in out.splitlines() if line.startswith("╭")}
    assert titles == {"Arguments", "Options", INPUT, WHAT, HOW, WHERE, RESULTS}


def test_explain_has_a_flag_for_every_option_of_the_question() -> None:
    _, out, _ = run("explain", "--help")
    for name in options_of(Question):
        assert {"method_options": "--set"}.get(name, f"--{name.replace('_', '-')}") in out, name
    assert "--pixels" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--contrast-weight", "11"], "less than or equal to 10"),
        (["--refine", "sum"], "'sum' is not one of"),
        (["--set", "pool"], "'pool' is not of the form NAME=VALUE"),
        (["--region", "ball:1,2,3,4"], "'ball:1,2,3,4' is not a region: region is of the unknown kind 'ball'"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_refused_with_those_it_can(arguments: list[str], says: str) -> None:
    code, out, err = run("explain", "ct.nrrd", "-m", "m", "-s", "kidney", "-o", "out", *arguments)
    assert (code, out) == (2, "")
    assert says in " ".join(err.split())


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version_is_that_of_the_package(option: str) -> None:
    assert run(option)[:2] == (0, f"seghirescam {version('seghirescam')}\n")


def test_help_loads_neither_torch_nor_the_scene() -> None:
    code = (
        "import sys; from SegHiResCAMLib.cli import app; app(['explain', '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'monai', 'SimpleITK', 'vtk', 'slicer'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["explian"], "No such command 'explian'"),
        (["explain"], "Missing"),
        (["layers", "a", "--o\x1b[31m" + "x" * 200], "x" * 200),
        (["segment", "a", "-m", "b", "-o", "c", "--axis", "u\x1b[31mp\u202e[/b]"], "[/b]"),
        (["layers", "a", "--segment-size", "[/x]\x9b"], "'--segment-size'"),
    ],
)
def test_wrong_usage_is_one_line_exits_with_2_and_is_cleaned(arguments: list[str], says: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    usage, hint, message = err.splitlines()
    assert usage.startswith("Usage: ")
    assert hint.endswith("-h' for help.")
    assert says in message
    assert not {"\x1b", "\x9b", "\u202e"} & set(err)


def test_without_a_command_help_is_shown() -> None:
    code, out, err = run()
    assert (code, err) == (2, "")
    assert "Commands" in out
