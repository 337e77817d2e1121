"""The report of a study: what its table says, in figures and in words."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from SegHiResCAMLib.naming import case_folder
from SegHiResCAMLib.pages.charts import Strip, bar_chart, strip_plot
from SegHiResCAMLib.pages.report import StudyPage, report_page
from SegHiResCAMLib.pages.viewer import VIEWER
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.regions import PredictedSegment
from SegHiResCAMLib.records.study import Cell, StudyRun
from SegHiResCAMLib.records.wording import contrast_words, number, refinement_words
from SegHiResCAMLib.study.rows_table import columns_of, group_columns, rows_of
from SegHiResCAMLib.study.statistics import Paired, paired_differences, summary_of
from SegHiResCAMLib.study.study_folder import CASES, Study, StudyState

Row = dict[str, Cell]

MEASURES = {
    "share_inside": "Share of the map inside the explained region",
    "share_within_5_mm": "Share of the map within 5 mm of it",
    "share_within_10_mm": "Share of the map within 10 mm of it",
    "mean_probability": "Mean probability over the explained region",
    "effective_volume_ml": "Effective volume of the map (ml)",
    "score_explained.share": "Share of the score that the map's sum explains",
    "peak": "Peak of the map (logit units)",
    "check.removal.p": "Rank of the map among shifted copies (p)",
    "check.weights.similarity": "Similarity to the map of weights that are drawn again",
    "check.noise.similarity": "Similarity to the map under noise",
    "similarity_to_next_case": "Similarity to the map of the next case",
}
"""Numbers of a map that a figure shows, and of which methods are compared."""

FIRST_SHOWN = ("case", "status", "message", "findings", "share_inside", "mean_probability", "peak")
THUMBNAIL = (240, 90)
"""Pixels at most."""

MOST_GROUPS = 12
"""Values of a further column by which cases are told apart in a figure; more make it unreadable."""

_REGION = re.compile(r"(?:(?P<of>.*)\.)?regions\.(?P<name>.+)\.positive")


def study_report(study: Study, run: StudyRun, state: StudyState) -> str:
    """The HTML of `report.html`."""
    rows = rows_of(state)
    done = [row for row in rows if row["status"] == "done"]
    groups = [name for name in group_columns(state).values() if name in columns_of(rows)]
    order, worst_by = _worst_first(rows, run.job.segments)
    dice = [name for name in columns_of(rows) if name.startswith("dice.")]
    compared = _compared(done)
    question = run.job.question
    return report_page(
        StudyPage(
            title=f"Why {', '.join(run.job.segments)}? {len(state.cases)} cases",
            lines=[
                f"{run.model.name} (SHA-256 {run.model.sha256[:16]}...), {question.method}"
                + (f", compared with {', '.join(run.job.compare)}" if run.job.compare else ""),
                f"{len(state.done)} done, {len(state.failed)} failed, {len(state.missing)} missing. Cases: {run.layout}.",
            ],
            columns=columns_of(rows),
            shown=[name for name in columns_of(rows) if name in (*FIRST_SHOWN, *groups, *dice)],
            rows=order,
            links=dict(_links(study, state)),
            thumbnails=dict(_thumbnails(study, state)),
            worst_by=worst_by,
            charts=list(_charts(done, groups, dice)),
            comparisons=[
                ["measure", "method", "cases", "difference", "95 % interval", "p", "p (Holm)"],
                *map(_line, compared),
            ],
            methods=_methods(run, state, done),
        )
    )


def _worst_first(rows: Sequence[Row], segments: Sequence[str]) -> tuple[list[Row], str]:
    """Cases that failed, then those with the lowest Dice of what is explained, or, without a reference, the lowest probability."""
    columns = columns_of(rows)
    by = next((name for name in (f"dice.{one}" for one in segments) if name in columns), "mean_probability")
    if by not in columns:
        return list(rows), "the order of the table"

    def place(row: Row) -> tuple[bool, bool, float]:
        value = row.get(by)
        return row["status"] == "done", not isinstance(value, float), value if isinstance(value, float) else 0.0

    return sorted(rows, key=place), f"{by}, the worst first"


def _charts(rows: Sequence[Row], groups: Sequence[str], dice: Sequence[str]) -> Iterator[str]:
    if dice:
        yield strip_plot("Dice", [_strip(name.removeprefix("dice."), name, rows) for name in dice])
    columns = columns_of(rows)
    regions = {
        f"{found['name']}, {found['of']}" if found["of"] else found["name"]: name
        for name in columns
        if (found := _REGION.fullmatch(name))
    }
    if regions:
        yield strip_plot("Positive evidence by region", [_strip(title, name, rows) for title, name in regions.items()])
    for measure, title in MEASURES.items():
        names = [name for name in columns if name == measure or name.endswith(f".{measure}")]
        if names:
            yield strip_plot(
                title,
                [
                    _strip(name.removesuffix(f".{measure}") if name != measure else "all cases", name, rows)
                    for name in names
                ],
            )
    main = next((name for name in (*dice, "share_inside") if name in columns), None)
    for group in groups:
        values = sorted({str(row[group]) for row in rows if row.get(group)})
        if main and 1 < len(values) <= MOST_GROUPS:
            yield strip_plot(
                f"{main} by {group}",
                [_strip(value, main, [row for row in rows if str(row.get(group)) == value]) for value in values],
            )
    counts = Counter(code for row in rows for code in set(str(row.get("findings") or "").split()))
    yield bar_chart("Findings", counts, len(rows))


def _strip(title: str, column: str, rows: Sequence[Row]) -> Strip:
    having = [row for row in rows if _is_number(row.get(column))]
    values = [_number(row[column]) for row in having]
    summary = summary_of(values)
    names = [str(row["case"]) for row in having]
    if summary is None:
        return Strip(title, values, names)
    return Strip(f"{title} (n = {summary.count})", values, names, summary.mean, summary.low, summary.high)


def _compared(rows: Sequence[Row]) -> list[Paired]:
    """Every further method against the first one, by the measures that both have."""
    pairs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    columns = columns_of(rows)
    for measure in MEASURES:
        for name in (one for one in columns if one.endswith(f".{measure}")):
            before, _, method = name.removesuffix(f".{measure}").rpartition(".")
            first = f"{before}.{measure}" if before else measure
            if first in columns:
                both = [(row.get(first), row.get(name)) for row in rows]
                found = [(_number(one), _number(other)) for one, other in both if _is_number(one) and _is_number(other)]
                pairs[(first, method)] = found
    return paired_differences(pairs)


def _line(one: Paired) -> list[str]:
    found = one.difference
    interval = "" if found.low is None or found.high is None else f"{number(found.low)} to {number(found.high)}"
    return [
        one.measure,
        one.method,
        str(found.count),
        number(found.mean),
        interval,
        f"{one.p:.3g}",
        f"{one.adjusted:.3g}",
    ]


def _methods(run: StudyRun, state: StudyState, rows: Sequence[Row]) -> list[str]:
    """What a paper says of how it was done."""
    question, versions = run.job.question, run.versions
    layers = Counter(str(row.get("layer")) for row in rows if row.get("layer"))
    layer = (
        f"at layer {question.layer}"
        if question.layer
        else f"at the layer that the program suggests ({', '.join(layers)})"
    )
    shares = summary_of([_number(row["share_inside"]) for row in rows if _is_number(row.get("share_inside"))])
    found = ""
    if shares is not None and shares.low is not None:
        found = f" On average, {shares.mean:.1%} (95 % interval {shares.low:.1%} to {shares.high:.1%}) of a map lay inside the explained region."
    others = f" and, for comparison, {', '.join(run.job.compare)}" if run.job.compare else ""
    return [
        (
            f"We explained the segmentation of {', '.join(run.job.segments)} by the network {run.model.name} (SHA-256 of its weights {run.model.sha256}) in "
            f"{len(state.cases)} cases with SegHiResCAM {versions.get('seghirescam', '')} (PyTorch {versions.get('torch', '')}, MONAI {versions.get('monai', '')}). "
            f"Heat maps were computed by {question.method}{others} {layer}; they are exact for the sliding-window prediction (Rheude et al., Machine Learning "
            f"for Biomedical Imaging 2024:023).{_question_words(question)} {len(state.done)} cases were explained, {len(state.failed)} could not be, and {len(state.missing)} were not "
            f"computed.{found}"
        ),
        (
            "Intervals are 95 % bias-corrected and accelerated bootstrap intervals of the mean over cases (Efron 1987; 4999 resamples). Methods were compared on "
            "the same cases by the Wilcoxon signed-rank test, adjusted for all comparisons by Holm's procedure (Holm 1979)."
        ),
    ]


def _question_words(question: Question) -> str:
    """What was asked beyond the segments and the method."""
    region = question.region or PredictedSegment()
    said = [
        "" if isinstance(region, PredictedSegment) else f"explained region: {region.title}",
        contrast_words(question),
        refinement_words(question),
        *(f"{name}: {value}" for name, value in question.method_options.items()),
        f"mean of {question.smooth} maps under noise of {question.smooth_noise:g}" if question.smooth else "",
    ]
    return "".join(f" {'; '.join(asked)}." for asked in [[one for one in said if one]] if asked)


def _links(study: Study, state: StudyState) -> Iterator[tuple[str, str]]:
    for name in state.done:
        pages = sorted(study.folder_of(name).glob(f"**/{VIEWER}"))
        if pages:
            inside = pages[0].relative_to(study.folder_of(name)).as_posix()
            yield name, quote(f"{CASES}/{case_folder(name)}/{inside}")


def _thumbnails(study: Study, state: StudyState) -> Iterator[tuple[str, str]]:
    from PIL import Image, UnidentifiedImageError

    for name in state.done:
        pictures = sorted(study.folder_of(name).glob("**/overlay.png"))
        try:
            with Image.open(pictures[0]) as picture:
                small = picture.convert("RGB")
                small.thumbnail(THUMBNAIL)
        except (IndexError, OSError, UnidentifiedImageError):
            continue
        content = io.BytesIO()
        small.save(content, "JPEG", quality=75)
        yield name, base64.b64encode(content.getvalue()).decode("ascii")


def _is_number(value: Cell) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Cell) -> float:
    assert isinstance(value, int | float)
    return float(value)
