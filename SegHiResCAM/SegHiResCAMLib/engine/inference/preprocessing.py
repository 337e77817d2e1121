"""From the user's volume to the model's own grid, and back.

The way there is the model's own MONAI transforms. The way back is by patient position, one for labels, masks and heat maps: labels and masks
take the nearest voxel, heat maps are interpolated linearly.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai import transforms
from monai.data import MetaTensor

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import check_room
from SegHiResCAMLib.engine.images.resampling import Interpolation, resample_onto
from SegHiResCAMLib.engine.inference.slicing import MODEL_SLICE_AXIS, preparing_failed
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.run_transforms import run_steps
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.kept_memory import release_memory

_SIZED = (
    transforms.BorderPadd,
    transforms.DivisiblePadd,
    transforms.Resized,
    transforms.ResizeWithPadOrCropd,
    transforms.Spacingd,
    transforms.SpatialPadd,
    transforms.Zoomd,
)


@dataclass(frozen=True)
class PreparedVolume:
    """A volume on the model's grid.

    Attributes:
        image: MetaTensor float32 (C, x, y, z) with the affine of the model's grid.
        grid: The user's volume: what results return to.
    """

    image: MetaTensor
    grid: MetaTensor

    def without_values(self) -> PreparedVolume:
        """The same grids without the image's memory."""
        nothing = self.image.as_tensor().new_zeros(1).expand(self.image.shape)
        return PreparedVolume(MetaTensor(nothing, meta=dict(self.image.meta)), self.grid)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between neighbouring positions along each axis of the model's grid."""
        return tuple(float(step) for step in self.image.pixdim)


def prepare(model: SegmentationModel, volume: MetaTensor, progress: Progress = silent) -> PreparedVolume:
    """Bring `volume` (C, i, j, k) to the grid and intensities the network was trained on.

    Args:
        model: Whose preprocessing is applied.
        volume: The user's.
        progress: Called before each step; may raise `Cancelled`.

    Raises:
        EngineError: The number of channels is not the model's, memory does not suffice, or the preprocessing fails or leaves nothing.
    """
    values = volume.as_tensor()
    if is_colour(model) and values.shape[0] == values.shape[-1] == 1:
        values = values.repeat(3, 1, 1, 1)  # a grey picture is the same in every colour
    if values.shape[0] != model.in_channels:
        raise _channels_differ(model, values.shape[0])
    original = MetaTensor(values, meta=dict(volume.meta))
    of = f"this volume of {' x '.join(map(str, volume.shape[1:]))} voxels for '{model.name}'"

    def before(number: int, step: Any, data: Mapping[Hashable, Any]) -> None:
        progress(number / len(model.preprocessing.transforms), "Preparing the volume")
        release_memory()  # what one step left free seldom fits the next, and an image is copied several times
        check_room(_needed(step, data["image"]), of, "Preparing")

    try:
        image = run_steps(model.preprocessing, {"image": original.clone()}, before)["image"]
    except (RuntimeError, ValueError, IndexError, TypeError, MemoryError) as error:
        raise preparing_failed(of, error) from error
    if image.numel() == 0:
        raise EngineError("preprocessing-empty", f"The preprocessing of '{model.name}' leaves nothing of this volume.")
    lowest, highest = torch.aminmax(image.as_tensor())  # both are NaN where one voxel is
    if not (torch.isfinite(lowest) and torch.isfinite(highest)):
        raise EngineError(
            "preprocessing-not-finite",
            f"The preprocessing of '{model.name}' turns this volume into values that are NaN or infinite; "
            "a constant image has no range to scale by. Check that the volume holds an image.",
        )
    image = MetaTensor(image.as_tensor(), meta=dict(image.meta))
    image.meta[MODEL_SLICE_AXIS] = model.slice_axis
    return PreparedVolume(image=image, grid=original)


def restore(values: torch.Tensor, prepared: PreparedVolume, interpolation: Interpolation) -> MetaTensor:
    """Take values on the model's grid back to the user's grid, by patient position.

    Args:
        values: (x, y, z) on the grid of `prepared.image`.
        prepared: From `prepare`.
        interpolation: "nearest" for labels, "linear" for heat maps.

    Returns:
        MetaTensor (1, i, j, k) with the user's affine, in the type of `values`. Outside what the model saw, zero.
    """
    there = MetaTensor(values[None], affine=prepared.image.affine)
    grid = prepared.grid
    restored = resample_onto(there, grid, interpolation)
    return MetaTensor(restored[None], meta=dict(grid.meta))


def onto_model_grid(mask: MetaTensor, prepared: PreparedVolume) -> torch.Tensor:
    """A mask (1, i, j, k) in any geometry, as (x, y, z) on the model's grid: each position takes the value of the voxel it lies in."""
    return resample_onto(mask, prepared.image, "nearest")


def _channels_differ(model: SegmentationModel, given: int) -> EngineError:
    if model.in_channels == 1:
        message = f"'{model.name}' takes one grey volume, but was given {given} channels. Give one of them alone."
    elif is_colour(model):
        message = (
            f"'{model.name}' takes colour images (red, green and blue), but was given {given} channel(s). Give a colour image, "
            "or choose another model."
        )
    else:
        names = f": {', '.join(model.inputs)}" if model.inputs else ""
        message = f"'{model.name}' needs {model.in_channels} volumes of one patient{names}; it was given {given}. Give them all, in this order."
    return EngineError("channels-differ", message)


def is_colour(model: SegmentationModel) -> bool:
    """Whether a model takes colour images: its inputs are called red, green and blue."""
    return [name[:1].casefold() for name in model.inputs] == ["r", "g", "b"]


def _needed(step: Any, image: MetaTensor) -> int:
    """Bytes that a transform takes at the highest beside its input, where it changes the number of voxels and that number is known before."""
    if not isinstance(step, _SIZED):
        return 0
    nothing = MetaTensor(image.as_tensor().new_zeros(1).expand(image.shape), affine=image.affine)
    voxels = math.prod(step({"image": nothing}, lazy=True)["image"].peek_pending_shape())
    channels = len(image)
    if isinstance(step, transforms.Spacingd):  # in double precision, with three indices for each voxel
        return int(8 * image.numel() + voxels * (24 + 12 * channels))
    return int(8 * voxels * channels)
