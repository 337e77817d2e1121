"""What a command shows: progress, answers, and one sentence for whatever goes wrong."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from SegHiResCAMLib.cli.cancellation import CANCELLED, Cancellation, listening
from SegHiResCAMLib.out_of_memory import is_out_of_memory, out_of_memory_message
from SegHiResCAMLib.writing.sweeping import sweep

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.answer.explanation import Explanation

DEBUG = "SEGHIRESCAM_DEBUG"
RESEARCH_ONLY = "For research use. A heat map shows what a network's output depended on; it is no diagnosis."

told = Console(stderr=True, highlight=False)
answer = Console(highlight=False)


@contextmanager
def job() -> Iterator[Callable[[float, str], None]]:
    """A progress bar, and one sentence with exit code 1 for whatever goes wrong."""
    # Libraries warn developers; what this program has to say to users comes from its own modules.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module="SegHiResCAMLib")
    warnings.showwarning = lambda message, *_: told.print(f"[yellow]Note:[/yellow] {message}")
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=told,
        transient=True,
        disable=not told.is_terminal,
    )
    task = bar.add_task("Starting", total=1.0)
    cancelled = Cancellation()

    def report(fraction: float, text: str) -> None:
        if cancelled.signal:  # a library has swallowed the interruption
            raise KeyboardInterrupt
        bar.update(task, completed=fraction, description=text)

    try:
        sweep()
        with bar, listening(cancelled):
            yield report
    except (typer.Exit, SystemExit):
        raise
    except KeyboardInterrupt:
        if cancelled.is_over:
            raise
        fail(CANCELLED, cancelled.exit_code)
    except Exception as error:
        if cancelled.signal:  # a library took the interruption for an error of its own
            fail(CANCELLED, cancelled.exit_code)
        if os.environ.get(DEBUG):
            raise
        sentence = getattr(error, "sentence", None)
        if sentence is None and is_out_of_memory(error):
            sentence = out_of_memory_message(error)
        if sentence is None:
            kind = type(error).__name__
            sentence = (
                f"An unexpected error occurred ({kind}: {error}). Set {DEBUG}=1 in the environment to see the trace."
            )
        fail(sentence)


@contextmanager
def open_scene() -> Iterator[Any]:
    """A MRML scene without the desktop application; None, and a note of what is left out, where the packages for it are missing."""
    from SegHiResCAMLib.scene.headless import headless_application, missing_packages

    missing = missing_packages()
    if missing:
        told.print(
            f"Left out: pictures and scene. {missing}", style="yellow", soft_wrap=True, markup=False, emoji=False
        )
        yield None
        return
    with headless_application() as application:
        yield application.scene


def fail(sentence: str, code: int = 1) -> None:
    """Say what is wrong and end."""
    told.print(sentence, style="red", soft_wrap=True, markup=False, emoji=False)
    raise typer.Exit(code)


def print_json(facts: Any) -> None:
    """Facts for programs, on standard output."""
    sys.stdout.write(json.dumps(facts, indent=2, allow_nan=False) + "\n")


def print_explanation(explanation: Explanation) -> None:
    """What an explanation found, and what to know before believing it."""
    facts = explanation.provenance
    maximum, (right, front, up) = explanation.peak
    answer.print(
        f"\n[bold]{facts['method']}[/bold] of '{facts['segment']}' at layer {facts['layer']} "
        f"({explanation.layer_reason})\n"
        f"  peak {maximum:.4g} {facts['units']} at R {right:.1f}, A {front:.1f}, S {up:.1f} mm; "
        f"score {explanation.score:.4g} over {explanation.pixel_count} positions; "
        f"{explanation.windows_touched} of {explanation.windows} windows explained"
    )
    if explanation.mean_probability is not None:
        answer.print(f"  mean probability {explanation.mean_probability:.1%} over what is explained")
    measured = explanation.measurements
    if measured.share_inside is not None:
        answer.print(
            f"  {measured.share_inside:.0%} of the map inside what is explained, {measured.share_within_10_mm:.0%} within 10 mm of it; "
            f"effective volume {measured.effective_volume_ml:.3g} ml beside {measured.segment_volume_ml:.3g} ml"
        )
    for diagnosis in explanation.diagnoses:
        answer.print(f"  [yellow]Note:[/yellow] {diagnosis.sentence}")


def print_files(files: list[Path]) -> None:
    """Where the results are."""
    answer.print("\nWritten:")
    for file in files:
        answer.print(f"  {file}", soft_wrap=True)
    answer.print(f"\n[dim]{RESEARCH_ONLY}[/dim]")
