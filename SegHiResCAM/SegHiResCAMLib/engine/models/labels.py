"""What a model's description calls its output channels, as labels with values, colours and coded names."""

from __future__ import annotations

import colorsys
from typing import Any, Literal

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.model import Label
from SegHiResCAMLib.terminology import KNOWN

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
        terminology, color = KNOWN.get(name.casefold(), (None, distinct_color(value)))
        labels.append(Label(name=name, value=value, channel=channel, color=color, terminology=terminology))
    if not labels:
        raise EngineError("bundle-labels", f"The model of '{file}' outlines nothing but background.")
    return tuple(labels)


def distinct_color(number: int) -> tuple[float, float, float]:
    """RGB, 0 to 1: hues a golden angle apart, so that any run of numbers is told apart, in two alternating brightnesses."""
    hue = (0.58 + number * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, 0.95 if number % 2 else 0.75)
    return round(red, 3), round(green, 3), round(blue, 3)


def _channel_names(metadata: dict[str, Any], out_channels: int) -> dict[int, str]:
    """Channel to name, from a mapping either way round, or a list with or without the background."""
    node: Any = metadata
    for key in ("network_data_format", "outputs", "pred", "channel_def"):
        node = node.get(key, {}) if isinstance(node, dict) else {}
    if isinstance(node, list):
        foreground_only = len(node) == out_channels - 1
        pairs = [(index + foreground_only, name) for index, name in enumerate(node)]
    elif isinstance(node, dict):
        numbered = all(str(key).isdecimal() for key in node)
        pairs = [(key, name) if numbered else (name, key) for key, name in node.items()]
    else:
        pairs = []
    names = {
        int(channel): str(name).strip() for channel, name in pairs if str(channel).isdecimal() and str(name).strip()
    }
    if out_channels == 1:
        foreground = [name for name in names.values() if not _is_background(name)]
        return dict(enumerate(foreground[:1]))
    return names


def _is_background(name: str) -> bool:
    return name.casefold() in _BACKGROUND
