"""nnU-Net's preprocessing as transforms of a volume.

In its order: stored axes backwards (as its readers give them) and transposed, cropped to what is not zero, normalised, resampled. Where things
are is left to MONAI's transforms; intensities and resampling follow nnU-Net value for value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import (
    Compose,
    CropForegroundd,
    MapTransform,
    Orientation,
    Orientationd,
)
from monai.utils import convert_to_dst_type
from scipy import ndimage

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.nnunet.plans import Intensities, Plans
from SegHiResCAMLib.engine.models.nnunet.splines import new_shape, resample
from SegHiResCAMLib.engine.models.placed import placed, resizing

IMAGE = "image"
_RAS = (("L", "R"), ("P", "A"), ("I", "S"))
SMALLEST = 1e-8
"""That intensities are divided by."""
MAX_POSITIONS = 1 << 31
"""In a resampled volume: more than any memory holds."""

Array = npt.NDArray[np.float32]


def nnunet_preprocessing(plans: Plans) -> Compose:
    """Dictionary transform (key "image") from a volume to the network's axes, spacing and intensities."""
    turned = [Orientationd(keys=IMAGE, axcodes="RAS", labels=_RAS)] if plans.turns_to_ras else []
    order = tuple(2 - axis for axis in plans.transpose)  # stored axes backwards are k, j, i
    return Compose(
        [
            *turned,
            AxesInOrder(order),
            CropForegroundd(keys=IMAGE, source_key=IMAGE, select_fn=_is_not_zero, allow_smaller=True),
            PlannedIntensities(plans.intensities),
            Resampled(plans),
        ]
    )


def nominal_spacing(plans: Plans) -> tuple[float, ...] | None:
    """Millimetres between positions of the network's input; None where volumes keep theirs."""
    return None if plans.resampling.function == "no_resampling_hack" else plans.spacing


class AxesInOrder(MapTransform):  # type: ignore[misc]  # the library ships no types
    """Puts a volume's axes in another order and flips none.

    Args:
        order: Which axis comes first, second and third.
    """

    def __init__(self, order: tuple[int, ...]) -> None:
        MapTransform.__init__(self, IMAGE)
        self.order = order
        self.orientation_in_words = "the volume's axes in the order of training"

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The image with its affine in the new order."""
        image = data[IMAGE]
        codes = nib.orientations.aff2axcodes(image.affine.numpy(), _RAS)
        wanted = "".join(codes[axis] for axis in self.order)
        return {**data, IMAGE: Orientation(wanted, labels=_RAS)(image)}


class PlannedIntensities(MapTransform):  # type: ignore[misc]  # the library ships no types
    """Each channel's intensities as the plans want them.

    Args:
        channels: One for each channel.
    """

    def __init__(self, channels: tuple[Intensities, ...]) -> None:
        super().__init__(IMAGE)
        self.channels = channels
        self.intensities_in_words = ", ".join(dict.fromkeys(one.scheme for one in channels))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The image with other values."""
        image = data[IMAGE]
        values = np.array(image.as_tensor().numpy(), dtype=np.float32)
        # Zeros that are surrounded by other values belong to the patient.
        inside = ndimage.binary_fill_holes((values != 0).any(axis=0))
        normalised = [
            NORMALISATIONS[how.scheme](one, how, inside) for one, how in zip(values, self.channels, strict=True)
        ]
        return {**data, IMAGE: convert_to_dst_type(np.stack(normalised), image)[0]}


class Resampled(MapTransform):  # type: ignore[misc]  # the library ships no types
    """The image at the network's spacing. A 2D network's slices stay as far apart as they are."""

    def __init__(self, plans: Plans) -> None:
        MapTransform.__init__(self, IMAGE)
        self.plans = plans

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The resampled image."""
        image = data[IMAGE]
        spacing = [float(step) for step in image.pixdim]
        wanted = [*spacing[: 3 - self.plans.dims], *self.plans.spacing]
        values = image.as_tensor().numpy()
        shape = new_shape(values.shape[1:], spacing, wanted)
        if not 0 < math.prod(shape) <= MAX_POSITIONS:
            raise EngineError(
                "preprocessing-size",
                f"At the model's spacing of {' x '.join(f'{step:g}' for step in wanted)} mm this volume would have "
                f"{' x '.join(map(str, shape))} voxels. Check the volume's own spacing, and that the model is for such volumes.",
            )
        resampled = resample(values, shape, spacing, wanted, self.plans.resampling)
        shape = resampled.shape[1:]

        def along(ramp: npt.NDArray[np.float64], length: int, axis: int) -> npt.NDArray[np.float64]:
            thin, to = [1, 1, 1], [1, 1, 1]
            thin[axis], to[axis] = len(ramp), length
            line = ramp.astype(np.float32).reshape(1, *thin)
            return resample(line, tuple(to), spacing, wanted, self.plans.resampling).ravel().astype(np.float64)

        found = convert_to_dst_type(resampled, image)[0]
        return {**data, IMAGE: placed(found, image, resizing(values.shape[1:], shape, along))}


def _ct(values: Array, how: Intensities, _inside: npt.NDArray[np.bool_]) -> Array:
    clipped = np.clip(values, np.float32(how.lower), np.float32(how.upper))
    return (clipped - np.float32(how.mean)) / np.float32(max(how.deviation, SMALLEST))


def _z_scores(values: Array, how: Intensities, inside: npt.NDArray[np.bool_]) -> Array:
    chosen = values[inside] if how.inside else values
    scores: Array = (chosen - chosen.mean()) / max(chosen.std(), np.float32(SMALLEST))
    if not how.inside:
        return scores
    values[inside] = scores
    return values


def _unchanged(values: Array, _how: Intensities, _inside: npt.NDArray[np.bool_]) -> Array:
    return values


def _to_unit_range(values: Array, _how: Intensities, _inside: npt.NDArray[np.bool_]) -> Array:
    raised = values - values.min()
    scaled: Array = raised / max(raised.max(), np.float32(SMALLEST))
    return scaled


def _colours(values: Array, _how: Intensities, _inside: npt.NDArray[np.bool_]) -> Array:
    if values.min() < 0 or values.max() > 255:
        raise EngineError(
            "preprocessing-colours",
            f"The model expects colours from 0 to 255, but this image has values from {values.min():g} to {values.max():g}. Give an image in "
            "colour.",
        )
    return values / np.float32(255)


NORMALISATIONS: dict[str, Callable[[Array, Intensities, npt.NDArray[np.bool_]], Array]] = {
    "CTNormalization": _ct,
    "ZScoreNormalization": _z_scores,
    "NoNormalization": _unchanged,
    "RescaleTo01Normalization": _to_unit_range,
    "RGBTo01Normalization": _colours,
}


def _is_not_zero(values: torch.Tensor) -> torch.Tensor:
    if not values.any():
        raise EngineError("preprocessing-empty", "This volume holds nothing but zeros. Check that it is the right one.")
    return values != 0
