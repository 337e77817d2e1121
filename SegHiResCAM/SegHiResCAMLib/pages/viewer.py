"""`viewer.html`: one explanation in three planes and 3D, with all that is known of it, in a single file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from SegHiResCAMLib.pages.display_volumes import Encoded, body_box, encode_image, encode_labels, encode_map
from SegHiResCAMLib.pages.self_contained import LIBRARY, json_data, page, text, text_of
from SegHiResCAMLib.patient_places import place
from SegHiResCAMLib.records.check_lines import check_lines
from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.wording import RESEARCH_ONLY, contrast_words, refinement_words

VIEWER = "viewer.html"

MOST_MISTAKES = 5
"""That a page lists, the largest first."""


@dataclass(frozen=True)
class ViewerPage:
    """What a page shows.

    Attributes:
        record: Of the map.
        volume: (i, j, k) that was explained.
        affine: (4, 4) from voxel indices to RAS millimetres, of all arrays.
        signed: The signed map (i, j, k).
        explained: The explained voxels (i, j, k), boolean.
        labels: The model's segmentation (i, j, k); None where there is none.
        segments: What its values are.
    """

    record: ExplanationRecord
    volume: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    signed: npt.NDArray[np.float32]
    explained: npt.NDArray[np.bool_]
    labels: npt.NDArray[Any] | None
    segments: Sequence[Label]


def viewer_page(shown: ViewerPage) -> str:
    """The HTML file of an explanation. Nothing of the patient is in it but the image: that of a head shows a face.

    Raises:
        PageError: NiiVue is not in this installation.
    """
    record, affine = shown.record, np.asarray(shown.affine, np.float64)
    found = np.unravel_index(int(shown.signed.argmax()), shown.signed.shape)
    peak = (int(found[0]), int(found[1]), int(found[2]))
    keep = shown.explained | (shown.signed > 0.05 * max(float(shown.signed.max()), 0.0))
    keep[peak] = True
    box = body_box(shown.volume, keep, affine)
    image = encode_image(shown.volume, shown.explained, affine, box, peak)
    signed = encode_map(shown.signed, affine, box, peak)
    marked = encode_labels(shown.explained if shown.labels is None else shown.labels, affine, box, peak)
    facts = {
        "units": record.units,
        "maximum": record.maximum,
        "minimum": record.minimum,
        "peak": [float(one) for one in (affine @ [*peak, 1.0])[:3]],
        "image": {"low": image.low, "high": image.high},
        "segments": _segments(shown),
    }
    data = {"facts": json_data(facts), "image": image.data, "labels": marked.data, "map": signed.data}
    body = _body(record, image, signed)
    title = f"{record.question.segment}: {record.method}"
    return page(title, text_of("viewer.css"), body, [text_of(LIBRARY), text_of("viewer.js")], data)


def _segments(shown: ViewerPage) -> list[dict[str, Any]]:
    if shown.labels is None:
        return [{"name": "explained region", "value": 1, "color": [90, 217, 255]}]
    return [
        {"name": one.name, "value": one.value, "color": [round(255 * part) for part in one.color]}
        for one in shown.segments
        if one.value < 256
    ]


def _body(record: ExplanationRecord, image: Encoded, signed: Encoded) -> str:
    question = record.question
    parts = [
        '<main><div id="stage"><canvas id="views" tabindex="0" aria-label="Image with heat map: axial, coronal, sagittal and 3D"></canvas>',
        '<div id="status" role="status">Loading</div></div>',
        f"<aside><h1>Why <em>{text(question.segment)}</em>?</h1>",
        f"<p>{text(record.method)}: positive evidence of the network for this segment.</p>",
        _controls(),
        _legend(record),
        _table("Map", _map_facts(record)),
        _findings(record),
        _shares(record),
        _regions(record),
        _check(record),
        _agreement(record),
        _table("How it was computed", _origin(record)),
        _table("In this page", _display(image, signed)),
        f'<p class="small">{text(RESEARCH_ONLY)}</p></aside></main>',
    ]
    return "".join(parts)


def _controls() -> str:
    views = "".join(
        f'<button type="button" data-view="{name}">{title}</button>'
        for name, title in (
            ("all", "All"),
            ("axial", "Axial"),
            ("coronal", "Coronal"),
            ("sagittal", "Sagittal"),
            ("render", "3D"),
        )
    )
    sliders = "".join(
        f'<label>{title} <output id="{name}-value"></output>'
        f'<input type="range" id="{name}" min="0" max="{most}" step="0.01" value="{value}"></label>'
        for name, title, most, value in (
            ("opacity", "Heat map", 1, 0.6),
            ("threshold", "Hidden below", 1, 0.1),
            ("labels-opacity", "Segmentation", 1, 0.3),
        )
    )
    return (
        f'<div class="row" role="group" aria-label="Views">{views}</div>'
        f'{sliders}<label class="check"><input type="checkbox" id="signed"> Negative evidence, too</label>'
        '<div class="row"><button type="button" id="peak"><u>P</u>eak</button></div>'
        '<p class="small">Drag: crosshair. Right button: contrast. Wheel: slices. Keys: arrows, page up and down, P for the peak.</p>'
    )


def _legend(record: ExplanationRecord) -> str:
    return (
        f'<figure><canvas id="legend" width="280" height="14" aria-hidden="true"></canvas><div id="ticks" class="ticks"></div>'
        f"<figcaption>{text(record.units)}; the highest value is {record.maximum:.6g}</figcaption></figure>"
    )


def _map_facts(record: ExplanationRecord) -> list[tuple[str, str]]:
    measured = record.measurements
    known = [
        ("Peak", f"{record.maximum:.6g} {record.units} at {place(record.peak_ras_mm)}"),
        ("Lowest value", f"{record.minimum:.6g}"),
        ("Score", "not finite" if record.score is None else f"{record.score:.6g} over {record.voxel_count} voxels"),
    ]
    if record.mean_probability is not None:
        known.append(("Mean probability", f"{record.mean_probability:.1%}"))
    if record.score_explained is not None and record.score_explained.share is not None:
        known.append(("Score explained", f"{record.score_explained.share:.0%} by the sum of the map"))
    if measured is not None and measured.effective_volume_ml is not None:
        known.append(("Effective volume", f"{measured.effective_volume_ml:.3g} ml"))
    if measured is not None:
        known.append(("Explained volume", f"{measured.segment_volume_ml:.3g} ml"))
    return known


def _shares(record: ExplanationRecord) -> str:
    """Bars of how much of the map lies where."""
    measured = record.measurements
    if measured is None or measured.share_inside is None:
        return ""
    bars = [
        ("in the explained region", measured.share_inside),
        ("up to 5 mm around it", measured.share_within_5_mm),
        ("up to 10 mm around it", measured.share_within_10_mm),
    ]
    drawn = "".join(
        f'<tr><th>{text(title)}</th><td><meter min="0" max="1" value="{share:.4f}"></meter> {share:.0%}</td></tr>'
        for title, share in bars
        if share is not None
    )
    return f"<section><h2>Where the map lies</h2><table>{drawn}</table></section>"


def _regions(record: ExplanationRecord) -> str:
    """Bars of how much of the map lies in which region, beside what the region has of the volume."""
    bars = "".join(
        f'<tr><th>{text(one.name)}</th><td><meter min="0" max="1" value="{one.positive:.4f}"></meter> {one.positive:.0%}'
        f' <span class="small">of {one.share_of_volume:.1%} of the volume</span></td></tr>'
        for one in record.regions
        if one.positive is not None
    )
    return f"<section><h2>Positive evidence by region</h2><table>{bars}</table></section>" if bars else ""


def _check(record: ExplanationRecord) -> str:
    """What was found when the map was checked, each line with what it means and does not mean."""
    lines = "".join(
        f'<tr><th>{text(one.title)}</th><td>{text(one.text)}<p class="small">{text(one.meaning)}</p></td></tr>'
        for one in check_lines(record)
    )
    return f'<section class="check"><h2>Check</h2><table>{lines}</table></section>' if lines else ""


def _agreement(record: ExplanationRecord) -> str:
    """Dice of each segment, and the largest mistakes, where there is a reference."""
    if record.comparison is None:
        return ""
    rows = [
        (f"Dice, {one.segment}", "both empty" if one.dice is None else f"{one.dice:.3f}")
        for one in record.comparison.agreements
    ]
    rows += [
        (f"{one.mistake.capitalize()}, {one.segment}", f"{one.volume_ml:.3g} ml at {place(one.point_ras_mm)}")
        for one in record.comparison.mistakes[:MOST_MISTAKES]
    ]
    return _table("Compared with the reference", rows)


def _findings(record: ExplanationRecord) -> str:
    listed = "".join(f"<li>{text(one.message)}</li>" for one in record.findings)
    return (
        f'<section class="findings"><h2>Before believing it</h2><ul>{listed or "<li>No finding.</li>"}</ul></section>'
    )


def _origin(record: ExplanationRecord) -> list[tuple[str, str]]:
    layer, question = record.layer, record.question
    spacing = f", spacing {' x '.join(f'{one:.3g}' for one in layer.mm)} mm" if layer.mm else ""
    given = [
        ("Model", f"{record.model.name} (SHA-256 {record.model.sha256[:16]}...)"),
        ("Method", record.method),
        ("Layer", f"{layer.name} ({layer.kind}, {layer.channels} channels{spacing})"),
        ("Explained", record.region),
        ("Contrast", contrast_words(question)),
        ("Refinement", refinement_words(question)),
        ("Options", ", ".join(f"{name}={value}" for name, value in question.method_options.items())),
        ("Mode", record.mode),
        ("Windows", f"{record.windows_touched} of {record.windows} contribute"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
    ]
    return [one for one in given if one[1]]


def _display(image: Encoded, signed: Encoded) -> list[tuple[str, str]]:
    def subset(one: Encoded) -> str:
        return "all voxels" if max(one.factors) == 1 else f"one of {' x '.join(map(str, one.factors))} voxels"

    return [
        (
            "Image",
            f"cropped to the body, {subset(image)}, {image.low:.4g} to {image.high:.4g} in steps of {image.step:.3g}",
        ),
        ("Map", f"{subset(signed)}, rounded by {signed.step / 2:.2g} at most"),
        ("Display", "radiological: the patient's right is on the left"),
    ]


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in rows)
    return f"<section><h2>{text(title)}</h2><table>{lines}</table></section>"
