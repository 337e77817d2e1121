"""The command itself, to which the modules beside it add theirs."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from SegHiResCAMLib.cli.console import answer, told
from SegHiResCAMLib.records.wording import RESEARCH_ONLY

UsageError: Any = typer.BadParameter.__base__
"""Of click, or of the copy of it that typer brings."""


class Commands(TyperGroup):
    """Commands whose wrong usage is reported as everything else is: cleaned, and on whole lines."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command and, standing alone, end the program."""
        alone = options.pop("standalone_mode", True)
        options["standalone_mode"] = False
        try:
            result = super().main(*arguments, **options)
            return sys.exit(result) if alone else result
        except UsageError as problem:
            if not alone:
                raise
            message = problem.format_message()  # empty where --help was shown in its place
            if message and problem.ctx is not None:
                told.print(problem.ctx.get_usage())
                told.print(f"Try '{problem.ctx.command_path} {problem.ctx.help_option_names[0]}' for help.")
            if message:
                told.print(message, style="red")
            sys.exit(problem.exit_code)
        except typer.Abort:
            if not alone:
                raise
            sys.exit(1)

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options; a flag has no value, so --help shall name no type of it."""
        return _flags_alone(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """One of the commands."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _flags_alone(command.get_params(ctx))
        return command


def _flags_alone(options: list[Any]) -> list[Any]:
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options


app = typer.Typer(
    name="seghirescam",
    cls=Commands,
    help=f"Why did the network segment this? Class activation maps for segmentation networks.\n\n{RESEARCH_ONLY}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        answer.print(f"seghirescam {version('seghirescam')}")
        raise typer.Exit


@app.callback()
def _general(
    _version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
