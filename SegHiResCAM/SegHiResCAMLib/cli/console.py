"""What a command shows: progress, answers, and one message for whatever goes wrong."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from SegHiResCAMLib.cli.cancellation import CANCELLED, Cancellation, listening
from SegHiResCAMLib.cli.plain_console import Cell, PlainConsole, heading, styled
from SegHiResCAMLib.cli.progress_report import Report, progress_on
from SegHiResCAMLib.patient_places import place
from SegHiResCAMLib.records.check_lines import check_lines
from SegHiResCAMLib.records.wording import RESEARCH_ONLY, integral_words, number, score_explained_words
from SegHiResCAMLib.user_error import message_of
from SegHiResCAMLib.writing.sweeping import sweep

if TYPE_CHECKING:
    from SegHiResCAMLib.engine.answer.explanation import Explanation
    from SegHiResCAMLib.records.mistakes import Comparison
    from SegHiResCAMLib.records.region_shares import RegionShare

DEBUG = "SEGHIRESCAM_DEBUG"

told = PlainConsole(stderr=True)
answer = PlainConsole()


@contextmanager
def job(if_cancelled: str = CANCELLED) -> Iterator[Report]:
    """A report of progress, and one message with exit code 1 for whatever goes wrong.

    Args:
        if_cancelled: What is said when the user cancels.
    """
    # Libraries warn developers; what this program has to say to users comes from its own modules.
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module="SegHiResCAMLib")
    warnings.showwarning = lambda message, *_: note("Note", str(message), told)
    cancelled = Cancellation(if_cancelled)
    try:
        sweep()
        with progress_on(told) as show, listening(cancelled):

            def report(fraction: float, text: str) -> None:
                if cancelled.signal:  # a library has swallowed the interruption
                    raise KeyboardInterrupt
                show(fraction, text)

            yield report
    except (typer.Exit, SystemExit):
        raise
    except KeyboardInterrupt:
        if cancelled.is_over:
            raise
        cancelled.is_reported = True
        fail(if_cancelled, cancelled.exit_code)
    except Exception as error:
        if cancelled.signal:  # a library took the interruption for an error of its own
            cancelled.is_reported = True
            fail(if_cancelled, cancelled.exit_code)
        if os.environ.get(DEBUG):
            raise
        fail(message_of(error, f"Set {DEBUG}=1 in the environment to see the traceback."))


@contextmanager
def open_scene() -> Iterator[Any]:
    """A MRML scene without the desktop application; None, and a note of what is left out, where the packages for it are missing."""
    from SegHiResCAMLib.scene.headless import headless_application, missing_packages

    missing = missing_packages()
    if missing:
        note("Not written", f"figures and scene. {missing}", told)
        yield None
        return
    with headless_application() as application:
        yield application.scene


def fail(message: str, code: int = 1) -> None:
    """Say what is wrong and end."""
    told.print(message, style="red")
    raise typer.Exit(code)


def lost(reason: str) -> None:
    """Say that an answer was computed, but could not be shown."""
    told.print(f"The answer could not be written to standard output ({reason}).", style="red")


def note(title: str, message: str, console: PlainConsole = answer) -> None:
    """Print a message under a title that stands out."""
    console.print_titled(f"{title}:", message)


def print_json(facts: Any) -> None:
    """Facts for programs, on standard output."""
    sys.stdout.write(json.dumps(facts, indent=2, allow_nan=False) + "\n")


def print_explanation(explanation: Explanation) -> None:
    """What an explanation found, and what to know before believing it."""
    maximum, peak = explanation.peak
    answer.print()
    answer.print(
        styled(
            (explanation.method, "bold"),
            f" of '{explanation.label.name}' at layer {explanation.layer.name} ({explanation.layer.reason})",
        )
    )
    answer.print(
        f"  peak {number(maximum, 4)} {explanation.units} at {place(peak)}; "
        f"score {number(explanation.score, 4)} over {explanation.voxel_count} voxels; "
        f"{explanation.windows_touched} of {explanation.windows} windows contribute"
    )
    if explanation.mean_probability is not None:
        answer.print(f"  mean probability {explanation.mean_probability:.1%} over the explained region")
    measured = explanation.measurements
    if measured.share_inside is not None and measured.effective_volume_ml is not None:
        answer.print(
            f"  {measured.share_inside:.0%} of the map inside the explained region, {measured.share_within_10_mm:.0%} within 10 mm of it; "
            f"effective volume {number(measured.effective_volume_ml)} ml, explained volume {number(measured.segment_volume_ml)} ml"
        )
    if explanation.regions:
        answer.print_rows([heading(*REGION_TITLES), *map(_region_row, explanation.regions)])
    if explanation.score_explained is not None:
        answer.print(f"  score explained by the sum of the map: {score_explained_words(explanation.score_explained)}")
    if explanation.path_integral is not None:
        answer.print(f"  integrated in {integral_words(explanation.path_integral)}")
    if explanation.input_shares is not None:
        rows = [heading("  image", "Shapley value", "share", "alone", "without")]
        for image in explanation.input_shares.inputs:
            share = "" if image.share is None else f"{100 * image.share:.1f} %"
            rows.append(
                [f"  {image.name}", number(image.value, 4), share, number(image.alone, 4), number(image.without, 4)]
            )
        answer.print_rows(rows)
    if explanation.check is not None:
        for line in check_lines(explanation.record()):
            answer.print_titled(f"  {line.title}:", line.text, "bold")
        spent = f"{explanation.check.forward_passes:.0f} forward passes, seed {explanation.check.seed}"
        answer.print(f"  Checked in {spent}. docs/evidence.md says what each line can and cannot mean.", style="dim")
    for finding in explanation.findings:
        note("  Note", finding.message)


MISTAKES_SHOWN = 10
"""At most; files have more."""

REGION_TITLES = (
    "  region", "volume, ml", "of the volume", "positive", "negative", "enrichment", "positive within 5 mm", "10 mm"
)  # fmt: skip


def _region_row(one: RegionShare) -> list[Cell]:
    def percent(share: float | None) -> str:
        return "" if share is None else f"{100 * share:.1f} %"

    enrichment = "" if one.enrichment is None else number(one.enrichment)
    within = percent(one.positive_within_5_mm), percent(one.positive_within_10_mm)
    shares = percent(one.share_of_volume), percent(one.positive), percent(one.negative)
    return [f"  {one.name}", f"{one.volume_ml:.1f}", *shares, enrichment, *within]


def print_comparison(comparison: Comparison) -> None:
    """How the segmentation differs from the reference, the largest mistakes first."""
    answer.print()
    rows = [heading("segment", "Dice", "surface distance, mm", "95 % within, mm", "volume, ml", "reference, ml")]
    for one in comparison.agreements:
        measured = (one.dice, one.mean_surface_distance_mm, one.hausdorff_95_mm, one.volume_ml, one.reference_ml)
        rows.append([one.segment, *("" if value is None else number(value) for value in measured)])
    answer.print_rows(rows)
    if not comparison.mistakes:
        return
    answer.print()
    rows = [heading("mistake", "segment", "volume, ml", "place", "region to explain", "")]
    for mistake in comparison.mistakes[:MISTAKES_SHOWN]:
        where = ",".join(f"{coordinate:.1f}" for coordinate in mistake.point_ras_mm)
        said = f"{'on its own' if mistake.is_separate else 'at the border'}; {mistake.instead} instead"
        region = f"{mistake.mistake}:{where}"
        rows.append(
            [mistake.mistake, mistake.segment, number(mistake.volume_ml), place(mistake.point_ras_mm), region, said]
        )
    answer.print_rows(rows)
    hidden = len(comparison.mistakes) + comparison.mistakes_left_out - MISTAKES_SHOWN
    if hidden > 0:
        answer.print(f"{hidden} smaller ones are not shown; mistakes.csv has up to 100.", style="dim")


def print_files(files: list[Path]) -> None:
    """Where the results are."""
    answer.print()
    answer.print("Written:")
    for file in files:
        answer.print_whole(f"  {file}")
    answer.print()
    answer.print(RESEARCH_ONLY, style="dim")
