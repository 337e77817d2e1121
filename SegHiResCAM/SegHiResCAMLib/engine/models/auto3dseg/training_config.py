"""What the `config` in an Auto3DSeg checkpoint says, with the defaults of Auto3DSeg's SegResNet template."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from SegHiResCAMLib.engine.errors import EngineError

MODES = ("none", "range", "ct", "meanstd", "mri", "meanstdtanh", "pet")

_MAX_VALUES = 20_000
_MAX_DEPTH = 32
_NEEDED = (
    "cache_image_int16", "class_index", "class_names", "crop_foreground", "custom_data_transforms", "extra_modalities", "input_channels",
    "intensity_bounds", "modality", "network", "normalize_mode", "orientation_ras", "resample", "resample_resolution", "roi_size",
    "sigmoid", "sliding_inferrer",
)  # fmt: skip


@dataclass(frozen=True)
class Auto3DSegConfig:
    """What is used of a config.

    Attributes:
        network: Class and arguments, as MONAI's bundles write them.
        inferer: The same, of an inferer other than the template's; None for that one.
        window: Size of a window.
        ras: Volumes are turned to RAS.
        crops: To what is above zero, and 10 voxels around it.
        spacing: In mm; None where volumes are not resampled.
        whole_numbers: Intensities are cut to whole numbers after resampling.
        modes: Of normalisation: that of the image, and those of further images by name.
        bounds: Of intensities, for the modes "range" and "ct".
        sigmoid: Output channels are independent.
        class_names: Of the structures; may be empty.
        class_index: For each output channel, which label values it joins; empty where channels are the labels.
    """

    network: dict[str, Any]
    inferer: dict[str, Any] | None
    window: tuple[int, int, int]
    ras: bool
    crops: bool
    spacing: tuple[float, float, float] | None
    whole_numbers: bool
    modes: dict[str, str]
    bounds: tuple[float, float]
    sigmoid: bool
    class_names: tuple[str, ...]
    class_index: tuple[tuple[int, ...], ...]


def read_auto3dseg_config(content: dict[Any, Any], file: str) -> Auto3DSegConfig:
    """The config of a checkpoint.

    Args:
        content: As it was saved; of any kind.
        file: The checkpoint's name for error messages.

    Raises:
        EngineError: `auto3dseg-config`.
    """
    budget = [_MAX_VALUES]
    known = {key: _plain(content[key], key, file, budget) for key in _NEEDED if key in content}
    config = {key: value for key, value in known.items() if value is not None}
    if config.get("custom_data_transforms"):
        raise EngineError(
            "auto3dseg-config",
            f"'{file}' prepares images by a script of its own ('custom_data_transforms'), and code that comes with a model is never run. Ask the model's author "
            "for a model with Auto3DSeg's own transforms.",
        )
    network = config.get("network")
    if not isinstance(network, dict):
        raise _wrong("network", config, file, "the network's class and arguments")
    inferer = config.get("sliding_inferrer")
    if inferer is not None and not isinstance(inferer, dict):
        raise _wrong("sliding_inferrer", config, file, "an inferer's class and arguments")
    bounds = _numbers("intensity_bounds", config, file, 2, [-250, 250])
    if not bounds[0] < bounds[1]:
        raise _wrong("intensity_bounds", config, file, "a lower and an upper bound")
    spacing = _numbers("resample_resolution", config, file, 3, [1, 1, 1])
    window = _numbers("roi_size", config, file, 3, [128, 128, 128])
    if not all(0.01 <= step <= 1000 for step in spacing):
        raise _wrong("resample_resolution", config, file, "lengths in mm")
    if not all(length == int(length) and 1 <= length <= 1 << 12 for length in window) or math.prod(window) > 1 << 28:
        raise _wrong("roi_size", config, file, "the size of a window")
    return Auto3DSegConfig(
        network=network,
        inferer=inferer,
        window=(int(window[0]), int(window[1]), int(window[2])),
        ras=_flag("orientation_ras", config, file, False),
        crops=_flag("crop_foreground", config, file, True) and not config.get("extra_modalities"),
        spacing=(spacing[0], spacing[1], spacing[2]) if _flag("resample", config, file, False) else None,
        whole_numbers=_flag("cache_image_int16", config, file, False),
        modes=_modes(config, file),
        bounds=(bounds[0], bounds[1]),
        sigmoid=_flag("sigmoid", config, file, False),
        class_names=_class_names(config),
        class_index=_class_index(config, file),
    )


def _modes(config: dict[str, Any], file: str) -> dict[str, str]:
    modality = str(config.get("modality", "mri"))
    default = "range" if modality.casefold() == "ct" else "meanstd"
    extra = config.get("extra_modalities", {})
    if not isinstance(extra, dict):
        raise _wrong("extra_modalities", config, file, "a mapping of images to their normalisation")
    modes = {_line(modality): config.get("normalize_mode", default), **{_line(name): extra[name] for name in extra}}
    for mode in modes.values():
        if mode not in MODES:
            key = "normalize_mode" if mode == config.get("normalize_mode") else "extra_modalities"
            raise _wrong(key, config, file, f"one of {', '.join(MODES)}")
    return modes


def _class_names(config: dict[str, Any]) -> tuple[str, ...]:
    """The template fills in "acc_0", "acc_1" where there are no names."""
    names = config.get("class_names")
    plain = isinstance(names, list) and all(isinstance(name, str) and not name.startswith("acc_") for name in names)
    return tuple(_line(name) for name in names) if plain and isinstance(names, list) else ()


def _line(text: str) -> str:
    return " ".join(text.split())[:100]


def _class_index(config: dict[str, Any], file: str) -> tuple[tuple[int, ...], ...]:
    index = config.get("class_index", [])
    rows = [row if isinstance(row, list) else [row] for row in index] if isinstance(index, list) else [[None]]
    if not all(isinstance(value, int) for row in rows for value in row):
        raise _wrong("class_index", config, file, "label values for each output channel")
    return tuple(tuple(row) for row in rows)


def _flag(key: str, config: dict[str, Any], file: str, default: bool) -> bool:
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise _wrong(key, config, file, "true or false")
    return value


def _numbers(key: str, config: dict[str, Any], file: str, count: int, default: list[float]) -> list[float]:
    value = config.get(key, default)
    items = value if isinstance(value, list) else [value] * count
    if len(items) != count or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in items):
        raise _wrong(key, config, file, f"{count} numbers")
    return [float(one) for one in items]


def _plain(value: Any, key: str, file: str, budget: list[int], depth: int = 0) -> Any:
    """`value` in dicts, lists, texts, finite numbers, booleans and None, within bounds."""
    budget[0] -= 1
    if budget[0] < 0 or depth > _MAX_DEPTH:
        raise EngineError(
            "auto3dseg-config",
            f"The config in '{file}' is larger than any model's. Ask the model's author for an undamaged file.",
        )
    if isinstance(value, dict):
        return {str(name): _plain(item, key, file, budget, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, key, file, budget, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise EngineError(
        "auto3dseg-config",
        f"The config in '{file}' has a {type(value).__name__} in '{key}', where texts and numbers should be. Ask the model's author for the file "
        "as Auto3DSeg wrote it.",
    )


def _wrong(key: str, config: dict[str, Any], file: str, needed: str) -> EngineError:
    found = repr(config[key])[:80] if key in config else "nothing"
    return EngineError(
        "auto3dseg-config",
        f"The config in '{file}' has {found} as '{key}', where {needed} should be. Ask the model's author for the file as Auto3DSeg wrote it.",
    )
