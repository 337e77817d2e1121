"""What nnU-Net's dataset.json says: the images of a patient, and the structures that are outlined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from SegHiResCAMLib.engine.models.labels import named_label, with_regions
from SegHiResCAMLib.engine.models.nnunet.section import Section
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config
from SegHiResCAMLib.records.models import Label

MAX_CHANNELS = 64


@dataclass(frozen=True)
class Dataset:
    """The data set that a network was trained on.

    Attributes:
        channels: Names of the images of a patient, in the network's order.
        labels: Structures, ordered by value; the value is the one that nnU-Net writes.
        out_channels: Of the network.
        activation: "softmax", or "sigmoid" where structures are regions that may overlap.
        description: For people; may be empty.
        licence: The same.
    """

    channels: tuple[str, ...]
    labels: tuple[Label, ...]
    out_channels: int
    activation: Literal["softmax", "sigmoid"]
    description: str
    licence: str


def read_dataset(path: Path) -> Dataset:
    """The content of a dataset.json.

    Raises:
        EngineError: `nnunet-plans`, or as `read_config`.
    """
    dataset = Section(read_config(path), str(path))
    structures = _structures(dataset)
    overlap = any(len(values) > 1 for values in structures.values())
    labels = with_regions(_regions(dataset, structures) if overlap else _classes(dataset, structures))
    if not labels:
        raise dataset.refusal("labels", "at least one structure in addition to the background")
    return Dataset(
        channels=_channels(dataset),
        labels=labels,
        out_channels=len(labels) + (not overlap),
        activation="sigmoid" if overlap else "softmax",
        description=_text(dataset, "description"),
        licence=_text(dataset, "licence") or _text(dataset, "license"),
    )


def _structures(dataset: Section) -> dict[str, tuple[int, ...]]:
    """Name to label values, in the file's order, without the background and the voxels that training ignored."""
    labels = dataset.section("labels").content
    found = {name: _values(value) for name, value in labels.items()}
    if found.get("background") != (0,) or not all(found.values()):
        raise dataset.refusal("labels", "names with their values, 'background' with 0,")
    return {
        name: values for name, values in found.items() if name != "ignore" and set(values) != {0}
    }  # dict order is the order of the network's channels where structures are regions


def _values(value: Any) -> tuple[int, ...]:
    """Values of a label; empty where they are none. Older files write numbers as texts."""
    values = value if isinstance(value, list) else [value]
    plain = all(isinstance(one, int | str) and not isinstance(one, bool) and str(one).isdecimal() for one in values)
    return tuple(int(one) for one in values) if plain and len(values) <= 1 << 10 else ()


def _classes(dataset: Section, structures: dict[str, tuple[int, ...]]) -> list[Label]:
    """Each structure has a value, and the network a channel for each value."""
    by_value = {values[0]: name for name, values in reversed(structures.items())}
    if sorted(by_value) != list(range(1, len(by_value) + 1)):
        raise dataset.refusal("labels", "values that count 0, 1, 2 and so on")
    return [_label(by_value[value], value, channel=value) for value in sorted(by_value)]


def _regions(dataset: Section, structures: dict[str, tuple[int, ...]]) -> list[Label]:
    """Each structure has a channel, in the file's order; `regions_class_order` has the value that is written for it."""
    order = dataset.integers("regions_class_order", 1, 1 << 14)
    if len(order) != len(structures) or len(set(order)) < len(order):
        raise dataset.refusal("regions_class_order", f"{len(structures)} different values, one for each region,")
    labels = [_label(name, value, channel) for channel, (name, value) in enumerate(zip(structures, order, strict=True))]
    return sorted(labels, key=lambda label: label.value)


def _label(name: str, value: int, channel: int) -> Label:
    return named_label(" ".join(name.replace("_", " ").split())[:100] or f"class {value}", value, channel)


def _channels(dataset: Section) -> tuple[str, ...]:
    key = "channel_names" if "channel_names" in dataset else "modality"  # older files
    names = dataset.section(key).content
    wanted = [str(channel) for channel in range(len(names))]
    if not 0 < len(names) <= MAX_CHANNELS or sorted(names, key=lambda name: (len(name), name)) != wanted:
        raise dataset.refusal(key, "names of images, numbered from 0,")
    return tuple(" ".join(str(names[number]).split())[:100] or f"image {int(number) + 1}" for number in wanted)


def _text(dataset: Section, key: str) -> str:
    value = dataset.content.get(key)
    return " ".join(value.split())[:1000] if isinstance(value, str) else ""
