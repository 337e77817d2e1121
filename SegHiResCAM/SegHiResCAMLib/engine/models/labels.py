"""What a model's description calls its output channels, as labels with values, colours and coded names."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.terminology import ANATOMY, LESION, Code, terminology_by_code, terminology_of

_BACKGROUND = re.compile(
    r"(the )?(image )?back[ _-]?ground([ _-]?class)?|bg|everything else|other|rest|unlabell?ed", re.IGNORECASE
)

# Under what descriptions name the output's channels, the usual first.
_DEFINITIONS = ("channel_def", "label_def", "channels", "labels", "label_names", "class_names", "classes")
MAX_DEPTH = 4


def labels_of(
    metadata: dict[str, Any],
    out_channels: int,
    activation: Literal["softmax", "sigmoid"],
    file: str,
    elsewhere: Iterable[Any] = (),
) -> tuple[Label, ...]:
    """The labels that a bundle's metadata defines for the network's output, without the background.

    Names are in `network_data_format.outputs.pred`, under `channel_def`, `label_def` or a like name, or in `elsewhere`. The background is
    the channel that is called so, wherever it is; with softmax, channel 0 where none is called so. Values are channels where channel 0 is the
    background, and count from 1 otherwise.

    Args:
        metadata: The bundle's.
        out_channels: The network's.
        activation: What makes probabilities of its output.
        file: The metadata's name for error messages.
        elsewhere: Definitions that the bundle's configuration has, used where the metadata has none.

    Raises:
        EngineError: `bundle-labels`, when names are given for channels that the network does not have, or none is left.
    """
    names = _channel_names(metadata, out_channels, activation, elsewhere)
    if any(channel >= out_channels for channel in names):
        raise EngineError(
            "bundle-labels",
            f"'{file}' names output channel {max(names)}, but the network has {out_channels} (counted from 0). Ask the model's author for "
            "the metadata of this network.",
        )
    background = background_channel(names, out_channels, activation)
    labels: list[Label] = []
    for channel in range(out_channels):
        if channel == background:
            continue
        value = len(labels) + 1
        name = names.get(channel, f"class {value}")
        if any(label.name.casefold() == name.casefold() for label in labels):
            name = f"{name} {value}"
        labels.append(named_label(name, value, channel))
    if not labels:
        raise EngineError(
            "bundle-labels",
            f"The model of '{file}' segments nothing but background. Ask the model's author for the metadata of this network.",
        )
    return with_regions(labels)


def background_channel(
    names: Mapping[int, str], out_channels: int, activation: Literal["softmax", "sigmoid"]
) -> int | None:
    """The output channel of the background, or None where there is none.

    Args:
        names: Of channels, as far as they have one.
        out_channels: How many there are.
        activation: With softmax there is a background, channel 0 where none is called so.
    """
    called = [channel for channel, name in sorted(names.items()) if is_background(name)]
    plainly = [channel for channel in called if "ground" in names[channel].casefold()]
    if out_channels > 1 and called:
        return (plainly or called)[0]
    return 0 if activation == "softmax" else None


def unlabelled_channel(labels: Iterable[Label], out_channels: int) -> int:
    """The first output channel that no label has, which is the background's where there is one; 0 where each has one."""
    taken = {label.channel for label in labels}
    return next((channel for channel in range(out_channels) if channel not in taken), 0)


def is_background(name: str) -> bool:
    """Whether a description means what belongs to no structure."""
    return bool(_BACKGROUND.fullmatch(name.strip()))


def described_labels(
    described: list[dict[str, Any]], out_channels: int, activation: Literal["softmax", "sigmoid"], file: str
) -> tuple[Label, ...]:
    """The labels that the description of a plain checkpoint lists, ordered by value.

    Args:
        described: Objects with "name" and, where they are not as by default, "channel", "value", "color" (0 to 255) and "snomed". One may
            be the background: then channels count from 0, and it gives no label.
        out_channels: The network's.
        activation: With softmax and no background among them, channel 0 is the background and counting starts after it.
        file: The description's name for error messages.

    Raises:
        EngineError: `description-wrong`, for a channel that the network does not have, or names, channels or values given twice.
    """
    listed = any(is_background(one["name"]) for one in described)
    first = 1 if activation == "softmax" and not listed else 0
    labels: list[Label] = []
    for number, one in enumerate(described):
        channel = one.get("channel", first + number)
        if not channel < out_channels:
            raise EngineError(
                "description-wrong",
                f"'{file}' has the output channel {channel} in 'labels[{number}]' ('{one['name']}'), but the network has {out_channels} "
                f"(counted from 0{', the background' if first else ''}). List the labels of this network.",
            )
        if is_background(one["name"]) and (out_channels > 1 or activation == "softmax"):
            continue
        label = named_label(one["name"], one.get("value", len(labels) + 1), channel)
        if "snomed" in one:
            terminology, color = terminology_by_code(one["snomed"], label.name)
            label = replace(label, terminology=terminology, color=color or label.color)
        if "color" in one:
            red, green, blue = (part / 255 for part in one["color"])
            label = replace(label, color=(red, green, blue))
        labels.append(label)
    if not labels:
        raise EngineError(
            "description-wrong",
            f"'{file}' has nothing but the background in 'labels'. List the structures that the network segments.",
        )
    for field in ("name", "channel", "value"):
        given = [str(getattr(label, field)).casefold() for label in labels]
        twice = next((value for value in given if given.count(value) > 1), None)
        if twice is not None:
            raise EngineError(
                "description-wrong", f"'{file}' has two 'labels' with the {field} {twice}. Give each its own."
            )
    return with_regions(sorted(labels, key=lambda label: label.value))


def described_background(described: list[dict[str, Any]]) -> int:
    """The output channel that a plain checkpoint's description calls background; 0 where it calls none so."""
    called = (one.get("channel", number) for number, one in enumerate(described) if is_background(one["name"]))
    return next(called, 0)


def named_label(name: str, value: int, channel: int) -> Label:
    """A label with the coded term and the colour that belong to its name, where that is known."""
    terminology, color = terminology_of(name) or (None, distinct_color(value))
    return Label(name=name, value=value, channel=channel, color=color, terminology=terminology)


def with_regions(labels: Iterable[Label]) -> tuple[Label, ...]:
    """The same labels, lesions lying in the organ that the model segments beside them, where it is a single one."""
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
    names = _names(_format(metadata, "inputs", "image").get("channel_def"))
    return tuple(names.get(channel, f"input {channel + 1}") for channel in range(in_channels)) if names else ()


def distinct_color(number: int) -> tuple[float, float, float]:
    """RGB, 0 to 1: hues a golden angle apart, so that any run of numbers is told apart, in two alternating brightnesses."""
    hue = (0.58 + number * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, 0.95 if number % 2 else 0.75)
    return round(red, 3), round(green, 3), round(blue, 3)


def _channel_names(
    metadata: dict[str, Any], out_channels: int, activation: Literal["softmax", "sigmoid"], elsewhere: Iterable[Any]
) -> dict[int, str]:
    """Channel to name, from the first definition that has names; one for each structure alone is moved behind the background."""
    output = _format(metadata, "outputs", "pred")
    said = [names for key in _DEFINITIONS for names in _variants(output.get(key), out_channels)]
    other = (names for definition in elsewhere for names in _variants(definition, out_channels))
    names = next(iter(said), None) or next((names for names in other if max(names) < out_channels), {})
    if out_channels == 1:
        foreground = [name for name in names.values() if not is_background(name)]
        return dict(enumerate(foreground[:1]))
    structures_alone = sorted(names) == list(range(out_channels - 1)) and not any(map(is_background, names.values()))
    if structures_alone and (activation == "softmax" or isinstance(output.get("channel_def"), list)):
        return {channel + 1: name for channel, name in names.items()}
    return names


def _format(metadata: dict[str, Any], side: str, name: str) -> dict[str, Any]:
    """What `network_data_format` says of an input or output: the usual one, or else the only one."""
    data_format = metadata.get("network_data_format")
    found = data_format.get(side) if isinstance(data_format, dict) else None
    if not isinstance(found, dict):
        return {}
    chosen = found.get(name, next(iter(found.values())) if len(found) == 1 else None)
    return chosen if isinstance(chosen, dict) else {}


def _variants(definition: Any, out_channels: int, depth: int = MAX_DEPTH) -> Iterator[dict[int, str]]:
    """The names in a definition; where it holds several, one for each task, those first that are for this number of channels."""
    names = _names(definition)
    if names:
        yield names
    elif depth and isinstance(definition, dict | list):
        parts = definition.values() if isinstance(definition, dict) else definition
        inner = [names for part in parts for names in _variants(part, out_channels, depth - 1)]
        yield from sorted(inner, key=lambda names: (max(names) >= out_channels, len(names) != out_channels))


def _names(definition: Any) -> dict[int, str]:
    """Channel to name, from a mapping either way round, or a list; a name may be in an object with "name" and its channel."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(definition, list):
        pairs = [_named(item, number) for number, item in enumerate(definition)]
    elif isinstance(definition, dict):
        numbered = all(str(key).isdecimal() for key in definition)
        pairs = [_named(one, key) if numbered else (_number_of(one, one), key) for key, one in definition.items()]
    return {
        int(str(channel)): name.strip()
        for channel, name in pairs
        if str(channel).isdecimal()
        and len(str(channel)) < 6
        and isinstance(name, str)
        and not name.strip().isdecimal()
        and name.strip()
    }


def _named(item: Any, number: Any) -> tuple[Any, Any]:
    """Channel and name of an item that is a name, or an object with one."""
    if not isinstance(item, dict):
        return number, item
    name = next((item[key] for key in ("name", "label", "class") if isinstance(item.get(key), str)), None)
    return _number_of(item, number), name


def _number_of(item: Any, default: Any) -> Any:
    """The channel in an object, or the default."""
    numbers = (item.get(key) for key in ("channel", "index", "value", "label")) if isinstance(item, dict) else ()
    return next((number for number in numbers if isinstance(number, int)), default)
