"""MONAI's transforms for what the description of a plain checkpoint says of orientation, spacing, intensities and size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureTyped,
    NormalizeIntensity,
    NormalizeIntensityd,
    Orientationd,
    ScaleIntensity,
    ScaleIntensityd,
    ScaleIntensityRanged,
)

from SegHiResCAMLib.engine.models.placed import Resized, Spacingd
from SegHiResCAMLib.engine.models.schemas import wrong

KEY = "image"


def preprocessing_of(
    content: dict[str, Any], spatial_dims: int, file: str
) -> tuple[Compose, Callable[[torch.Tensor], torch.Tensor] | None]:
    """The dictionary transform (key "image") of the volume, and the transform of one slice (C, x, y) where there is one.

    Args:
        content: As the schema has it.
        spatial_dims: The network's.
        file: The description's name for error messages.

    Raises:
        EngineError: `description-wrong`, for a range upside down, or slices where there are none, or before the whole volume's steps.
    """
    steps: list[Any] = [Orientationd(KEY, axcodes=content.get("orientation", "RAS"))]
    spacing = content.get("spacing")
    if spacing is not None:
        steps.append(Spacingd(KEY, pixdim=[step or 0.0 for step in spacing], mode="bilinear"))
    slices: list[Any] = []
    for number, step in enumerate(content.get("intensity", [])):
        where = f"intensity[{number}]"
        _check_ranges(step, where, file)
        if step.get("per") == "slice":
            if spatial_dims != 2:
                raise wrong(
                    "model", file, f"has a step for each slice in '{where}', but the network does not work on slices"
                )
            slices.append(_of_slice(step))
        elif slices:
            raise wrong("model", file, f"has a step for the volume in '{where}' after one for each slice")
        else:
            steps.append(_of_volume(step))
    if content.get("crop_foreground"):
        steps.append(CropForegroundd(KEY, source_key=KEY))
    if "resize" in content:
        steps.append(Resized(KEY, spatial_size=content["resize"], mode="trilinear"))
    return Compose([*steps, EnsureTyped(KEY)]), Compose(slices) if slices else None


def _of_volume(step: dict[str, Any]) -> Any:
    low, high = step.get("range", (0, 1))
    to = step.get("to", (0, 1))
    if step["step"] == "clip":
        return ScaleIntensityRanged(KEY, a_min=low, a_max=high, b_min=low, b_max=high, clip=True)
    if step["step"] == "scale":
        return ScaleIntensityRanged(KEY, a_min=low, a_max=high, b_min=to[0], b_max=to[1], clip=step.get("clip", False))
    if step["step"] == "min-max":
        return ScaleIntensityd(KEY, minv=to[0], maxv=to[1])
    return NormalizeIntensityd(KEY, **_normalisation(step))


def _of_slice(step: dict[str, Any]) -> Any:
    if step["step"] == "min-max":
        low, high = step.get("to", (0, 1))
        return ScaleIntensity(minv=low, maxv=high)
    return NormalizeIntensity(**_normalisation(step))


def _normalisation(step: dict[str, Any]) -> dict[str, Any]:
    """Of every channel by itself, as images of several kinds need it."""
    return {
        "subtrahend": step.get("mean"),
        "divisor": step.get("std"),
        "nonzero": step.get("nonzero", False),
        "channel_wise": "mean" not in step,
    }


def _check_ranges(step: dict[str, Any], where: str, file: str) -> None:
    for name in ("range", "to"):
        if name in step and not step[name][0] < step[name][1]:
            raise wrong(
                "model",
                file,
                f"has {step[name]} in '{where}.{name}', where the first number must be smaller than the second",
            )
