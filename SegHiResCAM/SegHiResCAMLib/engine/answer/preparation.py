"""What is done to volumes before a model sees them, in words: MONAI's transforms are known here, a reader's own say it themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai import transforms

from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.transforms import INTENSITY

_NO_CHANGE = frozenset({"ApplyPending", "CastToType", "EnsureType", "Identity"})


def orientation_of(model: SegmentationModel) -> str:
    """The axes of the model's grid ("RAS"), or an empty text where they are those of the volume."""
    axes = ""
    for step in model.preprocessing.transforms:
        if isinstance(step, transforms.Orientationd):
            axes = step.ornt_transform.axcodes or "closest to RAS"
        axes = getattr(step, "orientation_in_words", axes)
    return axes


def intensities_of(model: SegmentationModel) -> list[str]:
    """Each step that changes intensities, in order."""
    steps = [_in_words(step) for step in model.preprocessing.transforms]
    per_slice = ["further steps for each slice"] if model.slice_preprocessing is not None else []
    return [words for words in steps if words] + per_slice


def _in_words(step: Any) -> str:
    own: str | None = getattr(step, "intensities_in_words", None)
    if own is not None:
        return own
    words = next((say for kind, say in _WORDS.items() if isinstance(step, kind)), None)
    if words is not None:
        return words(step)
    name = type(step).__name__.removesuffix("d")
    return name if name in INTENSITY - _NO_CHANGE else ""


def _range(step: transforms.ScaleIntensityRanged) -> str:
    scale = step.scaler
    clipped = ", clipped" if scale.clip else ""
    return f"{scale.a_min:g} to {scale.a_max:g} becomes {scale.b_min:g} to {scale.b_max:g}{clipped}"


def _minimum_to_maximum(step: transforms.ScaleIntensityd) -> str:
    low, high = step.scaler.minv, step.scaler.maxv
    return "scaled by a factor" if low is None else f"minimum to maximum becomes {low:g} to {high:g}"


def _normalisation(step: transforms.NormalizeIntensityd) -> str:
    how = step.normalizer
    own = "its own mean and standard deviation" if how.subtrahend is None else "a fixed mean and standard deviation"
    return f"normalised by {own}" + (", zeros left out" if how.nonzero else "")


_WORDS: dict[type, Callable[[Any], str]] = {
    transforms.ScaleIntensityRanged: _range,
    transforms.ScaleIntensityd: _minimum_to_maximum,
    transforms.NormalizeIntensityd: _normalisation,
}
