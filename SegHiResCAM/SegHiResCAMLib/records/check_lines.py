"""What a check says beside a map, in at most six lines: each with what it means, and where the documentation explains it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.map_check import MapCheck, RemovalTest
from SegHiResCAMLib.records.wording import percent

PAGE = "https://seghirescam.github.io/SlicerSegHiResCAM/evidence/"
"""`docs/evidence.md` as it is published."""


@dataclass(frozen=True)
class CheckLine:
    """One line.

    Attributes:
        title: What is asked.
        text: What was found.
        meaning: What that can mean, and what it cannot.
        section: Of `docs/evidence.md`.
    """

    title: str
    text: str
    meaning: str
    section: str


def check_lines(record: ExplanationRecord) -> tuple[CheckLine, ...]:
    """The lines of a map that was checked; none where it was not."""
    return () if record.check is None else tuple(_lines(record, record.check))


def _lines(record: ExplanationRecord, check: MapCheck) -> Iterator[CheckLine]:
    yield CheckLine(
        "What it marks matters",
        _removal(check.removal),
        "The voxels that the map marks most, as many as the segment has, are replaced by other tissue of the patient. A low Dice that few shifted "
        "copies of the map reach means that the network needs what is there. It does not mean that the network needs nothing else.",
        "what-it-marks-matters",
    )
    if record.score_explained is not None:
        share = record.score_explained.share
        yield CheckLine(
            "How much of the score it explains",
            f"not applicable: {record.score_explained.reason}"
            if share is None
            else f"the sum of the map is {percent(share)} of the score's change",
            "The sum of the signed map beside the change of the score when the layer has the activations of the blurred image. Near 100 %, nothing is "
            "missing and nothing is counted twice; which voxels carry it is another question.",
            "how-much-of-the-score-it-explains",
        )
    if check.weights is not None:
        beside = f" ({check.noise.similarity:.2f} under noise)" if check.noise else ""
        yield CheckLine(
            "Depends on what was learned",
            f"similarity {check.weights.similarity:.2f} once the weights after the layer are drawn again{beside}",
            "A map that stays the same without the learned weights shows the image, not the network. Similarity is Spearman's rank correlation: 1 is "
            "the same order of voxels, 0 is none.",
            "depends-on-what-was-learned",
        )
    if check.noise is not None:
        yield CheckLine(
            "Stable",
            f"changes by {100 * check.noise.change:.0f} % under noise of 2 % of the display window",
            "Noise that no reader would notice. A map that changes much says little about single voxels.",
            "stable",
        )
    if check.not_measured:
        yield CheckLine(
            "Stable" if check.weights else "Depends on what was learned, stable",
            f"not measured: {check.not_measured}",
            "A map without this number is neither better nor worse; nothing is known of it.",
            "stable",
        )
    where = _where(record)
    if where:
        yield CheckLine(
            "Where", where, "Shares of the positive evidence. Evidence outside the segment is not an error.", "where"
        )
    gravest = record.findings[0].message if record.findings else "none"
    yield CheckLine("Gravest finding", gravest, "What to know before believing the map.", "findings")


def _removal(test: RemovalTest) -> str:
    if test.p is None or test.insertion_minus_deletion is None:
        return f"not measurable here: {test.reason}"
    removed = f"without it, Dice {test.deletion[test.at]:.2f}"
    if test.shifts:
        low, high = min(test.shifts), max(test.shifts)
        removed += f" ({len(test.shifts)} shifted copies: {low:.2f} to {high:.2f}, p = {test.p:.2f})"
    others = f"the segment's own mask {test.mask:.2f}, edges {test.edges:.2f}"
    return f"{removed}; insertion minus deletion {test.insertion_minus_deletion:.2f}, {others}"


def _where(record: ExplanationRecord) -> str:
    if record.regions:
        ranked = sorted(record.regions, key=lambda one: -(one.positive or 0.0))[:3]
        return ", ".join(f"{100 * (one.positive or 0.0):.0f} % {_named(one.name, one.part)}" for one in ranked)
    measured = record.measurements
    if measured is None or measured.share_inside is None or measured.share_within_10_mm is None:
        return ""
    return f"{100 * measured.share_inside:.0f} % inside the explained region, {100 * measured.share_within_10_mm:.0f} % within 10 mm of it"


def _named(name: str, part: str) -> str:
    return f"in the {name}" if part == "region" else name
