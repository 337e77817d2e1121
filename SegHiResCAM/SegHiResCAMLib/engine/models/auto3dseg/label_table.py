"""The structures of an Auto3DSeg model: from labels.csv, as MONAI Auto3DSeg for 3D Slicer has it, or from the checkpoint's config.

labels.csv has a row for each label value, and columns named after DICOM's attributes: LabelValue, Name, then CodingSchemeDesignator, CodeValue
and CodeMeaning of SegmentedPropertyCategoryCodeSequence, SegmentedPropertyTypeCodeSequence, SegmentedPropertyTypeModifierCodeSequence,
AnatomicRegionSequence and AnatomicRegionModifierSequence.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.auto3dseg.training_config import Auto3DSegConfig
from SegHiResCAMLib.engine.models.labels import background_channel, is_background, named_label, with_regions
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.terminology import Code, Terminology, terminology_by_code

MAX_BYTES = 1 << 20
MAX_VALUE = (1 << 15) - 1
"""Label maps are 16-bit."""


def auto3dseg_labels(
    config: Auto3DSegConfig, out_channels: int, file: Path | None, checkpoint: str
) -> tuple[Label, ...]:
    """The labels, ordered by value.

    Softmax: a label's value is its channel, unless labels.csv calls another channel than 0 the background. Sigmoid: values count channels from 1; a channel that joins several label values is called by
    the config's name, or else by theirs.

    Args:
        config: From the checkpoint.
        out_channels: Of the network.
        file: labels.csv; None where there is none.
        checkpoint: Its name for error messages.

    Raises:
        EngineError: `auto3dseg-labels`.
    """
    rows = {} if file is None else read_labels_csv(file)
    if config.sigmoid:
        labels = [_joined(channel, rows, config) for channel in range(out_channels)]
    else:
        beyond = [value for value in rows if value >= out_channels]
        if beyond:
            raise EngineError(
                "auto3dseg-labels",
                f"'{file}' names the label value {max(beyond)}, but the network in '{checkpoint}' has {out_channels} output channels. Ask the "
                "model's author for the labels.csv of this model.",
            )
        background = background_channel({value: row.name for value, row in rows.items()}, out_channels, "softmax")
        channels = [channel for channel in range(out_channels) if channel != background]
        labels = [
            replace(rows.get(channel) or _named(channel, config), value=value)
            for value, channel in enumerate(channels, start=1)
        ]
    if not labels:
        raise EngineError(
            "auto3dseg-labels",
            f"The model in '{checkpoint}' segments nothing but background. Ask the model's author for its labels.csv.",
        )
    return with_regions(_told_apart(labels))


def read_labels_csv(file: Path) -> dict[int, Label]:
    """Label values and what they stand for, without a background of the value 0; channels are the values.

    Raises:
        EngineError: `auto3dseg-labels`: it is too large, no such table, or gives a value twice.
    """
    data = file.read_bytes() if file.stat().st_size <= MAX_BYTES else b""
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), restval="", strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _wrong(file, f"cannot be read: {' '.join(str(error).split())[:100]}") from error
    found: dict[int, Label] = {}
    for number, row in enumerate(rows, start=2):
        value = (row.get("LabelValue") or "").strip()
        if not value.isdecimal() or len(value) > 5 or int(value) > MAX_VALUE:
            raise _wrong(file, f"has '{value[:40]}' as LabelValue in line {number}")
        if int(value) in found:
            raise _wrong(file, f"gives the LabelValue {value} twice, again in line {number}")
        label = _label(row, int(value))
        if int(value) or not is_background(label.name):
            found[int(value)] = label
    if not found:
        raise _wrong(file, "is empty, larger than 1 MiB, or has no column LabelValue")
    return found


def _label(row: dict[str, str], value: int) -> Label:
    category, kind, modifier, region = (
        _code(row, f"{name}CodeSequence" if "Property" in name else name)
        for name in (
            "SegmentedPropertyCategory",
            "SegmentedPropertyType",
            "SegmentedPropertyTypeModifier",
            "AnatomicRegionSequence",
        )
    )
    name = " ".join((row.get("Name") or "").replace("_", " ").split())[:100]
    label = named_label(name or (kind.meaning if kind else "") or f"class {value}", value, channel=value)
    if category is None or kind is None:
        return label
    color = terminology_by_code(kind.value, kind.meaning)[1]
    return replace(label, terminology=Terminology(category, kind, region, modifier), color=color or label.color)


def _code(row: dict[str, str], sequence: str) -> Code | None:
    parts = [
        (row.get(f"{sequence}.{part}") or "").strip()[:100]
        for part in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
    ]
    # Slicer's own form joins the parts with these signs.
    scheme, value, meaning = (part.replace("^", " ").replace("~", " ") for part in parts)
    return Code(scheme, value, meaning) if scheme and value else None


def _named(value: int, config: Auto3DSegConfig) -> Label:
    name = config.class_names[value - 1] if 0 < value <= len(config.class_names) else ""
    return named_label(name or f"class {value}", value, channel=value)


def _joined(channel: int, rows: dict[int, Label], config: Auto3DSegConfig) -> Label:
    values = config.class_index[channel] if channel < len(config.class_index) else (channel + 1,)
    if channel < len(config.class_names) and config.class_names[channel]:
        return named_label(config.class_names[channel], channel + 1, channel)
    if len(values) == 1 and values[0] in rows:
        return replace(rows[values[0]], value=channel + 1, channel=channel)
    names = [rows[value].name if value in rows else f"class {value}" for value in values]
    return named_label(" + ".join(names), channel + 1, channel)


def _told_apart(labels: list[Label]) -> list[Label]:
    """The same, names that occur twice with their value behind them."""
    names = [label.name.casefold() for label in labels]
    return [
        replace(label, name=f"{label.name} {label.value}") if names.count(label.name.casefold()) > 1 else label
        for label in labels
    ]


def _wrong(file: Path, problem: str) -> EngineError:
    return EngineError(
        "auto3dseg-labels", f"'{file}' {problem}. Ask the model's author for the labels.csv of this model."
    )
