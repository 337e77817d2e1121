"""The command itself, to which the modules beside it add theirs."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from SegHiResCAMLib.cli.console import RESEARCH_ONLY, answer

app = typer.Typer(
    name="seghirescam",
    help=f"Why did the network outline this? Class activation maps for segmentation networks.\n\n{RESEARCH_ONLY}",
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
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
