"""What a model's description calls its output channels, as labels with values, colours and coded names."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.model import Label
from SegHiResCAMLib.terminology import ANATOMY, LESION, Code, terminology_by_code, terminology_of

_BACKGROUND = frozenset({"background", "bg", "everything else", "other", "rest"})


def labels_of(
    metadata: dict[str, Any], out_channels: int, activation: Literal["softmax", "sigmoid"], file: str
) -> tuple[Label, ...]:
    """The labels that `network_data_format.outputs.pred.channel_def` of a bundle's metadata defines, without the background.

    With softmax, channel 0 is background and a label's value is its channel. With sigmoid, channels are independent: values are channels
    where channel 0 is called background, and count from 1 otherwise.

    Raises:
        EngineError: `bundle-labels`, when names are given for channels that the network does not have, or none is left.
    """
    names = _channel_names(metadata, out_channels)
    if any(channel >= out_channels for channel in names):
        raise EngineError(
            "bundle-labels",
            f"'{file}' names output channel {max(names)}, but the network has {out_channels} (counted from 0). Ask the sender for "
            "the metadata of this network.",
        )
    first = 1 if activation == "softmax" or (out_channels > 1 and _is_background(names.get(0, ""))) else 0
    labels: list[Label] = []
    for channel in range(first, out_channels):
        value = channel - first + 1
        name = names.get(channel, f"class {value}")
        if any(label.name.casefold() == name.casefold() for label in labels):
            name = f"{name} {value}"
        labels.append(named_label(name, value, channel))
    if not labels:
        raise EngineError("bundle-labels", f"The model of '{file}' outlines nothing but background.")
    return with_regions(labels)


def described_labels(
    described: list[dict[str, Any]], out_channels: int, activation: Literal["softmax", "sigmoid"], file: str
) -> tuple[Label, ...]:
    """The labels that the description of a plain checkpoint lists, ordered by value.

    Args:
        described: Objects with "name" and, where they are not as by default, "channel", "value", "color" (0 to 255) and "snomed".
        out_channels: The network's.
        activation: With softmax, channel 0 is background and counting starts after it.
        file: The description's name for error sentences.

    Raises:
        EngineError: `description-wrong`, for a channel that the network does not have, or names, channels or values given twice.
    """
    first = 1 if activation == "softmax" else 0
    labels = []
    for number, one in enumerate(described):
        channel = one.get("channel", first + number)
        if not channel < out_channels:
            raise EngineError(
                "description-wrong",
                f"'{file}' has the output channel {channel} in 'labels[{number}]' ('{one['name']}'), but the network has {out_channels} "
                f"(counted from 0{', the background' if first else ''}). List the labels of this network.",
            )
        label = named_label(one["name"], one.get("value", number + 1), channel)
        if "snomed" in one:
            terminology, color = terminology_by_code(one["snomed"], label.name)
            label = replace(label, terminology=terminology, color=color or label.color)
        if "color" in one:
            red, green, blue = (part / 255 for part in one["color"])
            label = replace(label, color=(red, green, blue))
        labels.append(label)
    for field in ("name", "channel", "value"):
        given = [str(getattr(label, field)).casefold() for label in labels]
        twice = next((value for value in given if given.count(value) > 1), None)
        if twice is not None:
            raise EngineError(
                "description-wrong", f"'{file}' has two 'labels' with the {field} {twice}. Give each its own."
            )
    return with_regions(sorted(labels, key=lambda label: label.value))


def named_label(name: str, value: int, channel: int) -> Label:
    """A label with the coded term and the colour that belong to its name, where that is known."""
    terminology, color = terminology_of(name) or (None, distinct_color(value))
    return Label(name=name, value=value, channel=channel, color=color, terminology=terminology)


def with_regions(labels: Iterable[Label]) -> tuple[Label, ...]:
    """The same labels, lesions lying in the organ that the model outlines beside them, where it is a single one."""
    labels = tuple(labels)
    organs = {label.terminology.type for label in labels if label.terminology and label.terminology.category == ANATOMY}
    if len(organs) != 1:
        return labels
    (organ,) = organs
    return tuple(_in_region(label, organ) for label in labels)


def _in_region(label: Label, organ: Code) -> Label:
    known = label.terminology
    if known is None or known.category != LESION or known.region is not None:
        return label
    return replace(label, terminology=replace(known, region=organ))


def inputs_of(metadata: dict[str, Any], in_channels: int) -> tuple[str, ...]:
    """What `network_data_format.inputs.image.channel_def` of a bundle's metadata calls each input channel; empty where it does not."""
    names = _names(_definition(metadata, "inputs", "image"))
    return tuple(names.get(channel, f"input {channel + 1}") for channel in range(in_channels)) if names else ()


def distinct_color(number: int) -> tuple[float, float, float]:
    """RGB, 0 to 1: hues a golden angle apart, so that any run of numbers is told apart, in two alternating brightnesses."""
    hue = (0.58 + number * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, 0.95 if number % 2 else 0.75)
    return round(red, 3), round(green, 3), round(blue, 3)


def _channel_names(metadata: dict[str, Any], out_channels: int) -> dict[int, str]:
    """Channel to name, from a mapping either way round, or a list with or without the background."""
    definition = _definition(metadata, "outputs", "pred")
    names = _names(definition)
    if isinstance(definition, list) and len(definition) == out_channels - 1:
        names = {channel + 1: name for channel, name in names.items()}
    if out_channels == 1:
        foreground = [name for name in names.values() if not _is_background(name)]
        return dict(enumerate(foreground[:1]))
    return names


def _definition(metadata: dict[str, Any], *keys: str) -> Any:
    """The `channel_def` of an input or output."""
    node: Any = metadata
    for key in ("network_data_format", *keys, "channel_def"):
        node = node.get(key, {}) if isinstance(node, dict) else {}
    return node


def _names(definition: Any) -> dict[int, str]:
    """Channel to name, from a mapping either way round, or a list."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(definition, list):
        pairs = list(enumerate(definition))
    elif isinstance(definition, dict):
        numbered = all(str(key).isdecimal() for key in definition)
        pairs = [(key, name) if numbered else (name, key) for key, name in definition.items()]
    return {
        int(channel): str(name).strip() for channel, name in pairs if str(channel).isdecimal() and str(name).strip()
    }


def _is_background(name: str) -> bool:
    return name.casefold() in _BACKGROUND
