"""From the user's volume to the model's own grid, and back.

The way there is the model's own MONAI transforms; the way back is their recorded inverse. Labels go back by nearest neighbour,
heat maps linearly, so that neither is ever rebuilt from numbers of our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.data import MetaTensor
from monai.utils import TraceKeys

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.images.resampling import Interpolation, is_same_grid, resample_onto
from SegHiResCAMLib.engine.inference.slicing import MODEL_SLICE_AXIS
from SegHiResCAMLib.engine.models.model import SegmentationModel


@dataclass(frozen=True)
class PreparedVolume:
    """A volume on the model's grid.

    Attributes:
        image: MetaTensor float32 (C, x, y, z) with the operations that led here on record.
        grid: The user's volume: what results return to.
    """

    image: MetaTensor
    grid: MetaTensor

    def without_values(self) -> PreparedVolume:
        """The same grid, and the way back from it, without the image's memory."""
        nothing = self.image.as_tensor().new_zeros(1).expand(self.image.shape)
        image = MetaTensor(nothing, meta=dict(self.image.meta), applied_operations=list(self.image.applied_operations))
        return PreparedVolume(image, self.grid)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between neighbouring positions along each axis of the model's grid."""
        return tuple(float(step) for step in self.image.pixdim)


def prepare(model: SegmentationModel, volume: MetaTensor) -> PreparedVolume:
    """Bring `volume` (C, i, j, k) to the grid and intensities the network was trained on.

    Raises:
        EngineError: The number of channels is not the model's, or the preprocessing fails or leaves nothing.
    """
    values = volume.as_tensor()
    if is_colour(model) and values.shape[0] == values.shape[-1] == 1:
        values = values.repeat(3, 1, 1, 1)  # a grey picture is the same in every colour
    if values.shape[0] != model.in_channels:
        raise _channels_differ(model, values.shape[0])
    original = MetaTensor(values, meta=dict(volume.meta))
    try:
        image = model.preprocessing({"image": original.clone()})["image"]
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        refuse_out_of_memory(error, f"Preparing the volume for '{model.name}'")
        raise EngineError(
            "preprocessing-failed",
            f"The preprocessing of '{model.name}' cannot treat this volume of {tuple(volume.shape[1:])} voxels: {error}",
        ) from error
    if image.numel() == 0:
        raise EngineError("preprocessing-empty", f"The preprocessing of '{model.name}' leaves nothing of this volume.")
    if not torch.isfinite(image.as_tensor()).all():
        raise EngineError(
            "preprocessing-not-finite",
            f"The preprocessing of '{model.name}' turns this volume into NaN or infinite values; "
            "a constant image has no range to scale by. Check that the volume holds a picture.",
        )
    image.meta[MODEL_SLICE_AXIS] = model.slice_axis
    return PreparedVolume(image=image, grid=original)


def restore(
    values: torch.Tensor,
    model: SegmentationModel,
    prepared: PreparedVolume,
    interpolation: Interpolation,
) -> MetaTensor:
    """Take values on the model's grid back to the user's grid.

    Args:
        values: (x, y, z) on the grid of `prepared.image`.
        model: Whose preprocessing led there.
        prepared: From `prepare`.
        interpolation: "nearest" for labels, "linear" for heat maps.

    Returns:
        MetaTensor (1, i, j, k) with the user's affine, in the type of `values`. Outside what the model saw, zero.
    """
    operations = [
        _interpolated(operation, interpolation, values.ndim) for operation in prepared.image.applied_operations
    ]
    there = MetaTensor(
        values[None].float(),
        affine=prepared.image.affine,
        meta=dict(prepared.image.meta),
        applied_operations=operations,
    )
    back = model.preprocessing.inverse({"image": there})["image"]
    grid = prepared.grid
    # Some transforms cannot name their exact inverse (an orientation between two axes); the affines still can.
    restored = back.as_tensor()[0] if is_same_grid(back, grid) else resample_onto(there, grid, interpolation)
    return MetaTensor(restored[None].to(values.dtype), affine=grid.affine, meta=dict(grid.meta))


def onto_model_grid(mask: MetaTensor, prepared: PreparedVolume) -> torch.Tensor:
    """A mask (1, i, j, k) in any geometry, as (x, y, z) on the model's grid: each position takes the value of the voxel it lies in."""
    return resample_onto(mask, prepared.image, "nearest")


def from_model_grid(chosen: torch.Tensor, prepared: PreparedVolume) -> MetaTensor:
    """Chosen positions (x, y, z) of the model's grid as voxels (1, i, j, k) of the user's: each takes the value of the position it lies in."""
    there = MetaTensor(chosen[None], affine=prepared.image.affine)
    voxels = resample_onto(there, prepared.grid, "nearest")
    return MetaTensor(voxels[None], affine=prepared.grid.affine, meta=dict(prepared.grid.meta))


def _channels_differ(model: SegmentationModel, given: int) -> EngineError:
    if model.in_channels == 1:
        sentence = f"'{model.name}' takes one grey volume, but was given {given} channels. Give one of them alone."
    elif is_colour(model):
        sentence = (
            f"'{model.name}' takes colour pictures (red, green and blue), but was given {given} channel(s). Give a picture in colour, "
            "or choose another model."
        )
    else:
        names = f": {', '.join(model.inputs)}" if model.inputs else ""
        sentence = f"'{model.name}' needs {model.in_channels} volumes of one patient{names}; it was given {given}. Give them all, in this order."
    return EngineError("channels-differ", sentence)


def is_colour(model: SegmentationModel) -> bool:
    """Whether a model looks at colour pictures: its inputs are called red, green and blue."""
    return [name[:1].casefold() for name in model.inputs] == ["r", "g", "b"]


def _interpolated(operation: object, interpolation: str, ndim: int) -> object:
    """The record of one transform with every interpolation mode in it set to what the values need.

    Resizing goes through `torch.nn.functional.interpolate`, which calls linear in three dimensions "trilinear"; resampling goes
    through `grid_sample`, which calls it "bilinear" in any.
    """
    if isinstance(operation, list | tuple):
        return [_interpolated(part, interpolation, ndim) for part in operation]
    if not isinstance(operation, dict):
        return operation
    resizes = operation.get(TraceKeys.CLASS_NAME) == "Resize"
    linear = "trilinear" if resizes and ndim == 3 else "bilinear"
    mode = "nearest" if interpolation == "nearest" else linear
    return _with_mode(operation, mode, corners=False if resizes and mode != "nearest" else None)


def _with_mode(record: object, mode: str, corners: bool | None) -> object:
    if isinstance(record, list | tuple):
        return [_with_mode(part, mode, corners) for part in record]
    if not isinstance(record, dict):
        return record
    changed = {key: _with_mode(part, mode, corners) for key, part in record.items()}
    if "mode" in changed and changed["mode"] not in ("constant", None):
        changed["mode"] = mode
    if "align_corners" in changed:
        changed["align_corners"] = TraceKeys.NONE if corners is None else corners
    return changed
