"""A prepared volume as the stack of images its network takes: itself for a 3D network, all its slices for a 2D one."""

from __future__ import annotations

import nibabel as nib
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_tensor

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.records.question import Axis, Mode

# The patient axis (0 right-left, 1 front-back, 2 head-foot) that slices of each name follow one another along.
PATIENT_AXIS: dict[Axis, int] = {"sagittal": 0, "coronal": 1, "axial": 2, "auto": 2}

MODEL_SLICE_AXIS = "model_slice_axis"
"""Under this key a prepared volume's `meta` has `SegmentationModel.slice_axis`."""


def check_mode(model: SegmentationModel, mode: Mode) -> None:
    """Refuse a mode that the network cannot work in.

    Raises:
        EngineError: `mode-unfit`.
    """
    fitting = "slice-wise" if model.spatial_dims == 2 else "volumetric"
    if mode not in ("auto", fitting):
        raise EngineError(
            "mode-unfit",
            f"'{model.name}' is a {model.spatial_dims}D network and works {fitting}, not {mode}. Choose {fitting} or auto.",
        )


def slice_axis(image: MetaTensor, axis: Axis) -> int:
    """The axis of the grid (0, 1 or 2) along which slices follow one another.

    Args:
        image: On the model's grid, from `prepare`.
        axis: "auto" is the axis that the model's description names, or axial where it names none. The others are the axis closest to that of
            the patient along which such slices follow one another.
    """
    own = image.meta.get(MODEL_SLICE_AXIS)
    if axis == "auto" and own is not None:
        return int(own)
    closest = nib.orientations.io_orientation(image.affine.numpy())[:, 0]
    return int(list(closest).index(PATIENT_AXIS[axis]))


def to_stack(model: SegmentationModel, image: MetaTensor, axis: Axis, progress: Progress = silent) -> torch.Tensor:
    """Images for the network: (1, C, x, y, z) for a 3D network, (slices, C, u, v) for a 2D one.

    Args:
        model: Its `slice_preprocessing` is applied to every slice.
        image: (C, x, y, z) on the model's grid.
        axis: How a 2D network slices the volume; a 3D one takes no notice.
        progress: Called before each slice is prepared by itself; may raise `Cancelled`.

    Raises:
        EngineError: `preprocessing-failed` or `out-of-memory`, of a slice.
    """
    return prepare_slices(model, unprepared_stack(model, image, axis), progress)


def unprepared_stack(model: SegmentationModel, image: MetaTensor, axis: Axis) -> torch.Tensor:
    """The same before every slice is prepared by itself: a view of the image, which takes no memory of its own."""
    values: torch.Tensor = image.as_tensor().float()
    return values[None] if model.spatial_dims == 3 else values.movedim(slice_axis(image, axis) + 1, 0)


def prepare_slices(model: SegmentationModel, slices: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
    """Some images of `unprepared_stack` as the network takes them.

    Raises:
        EngineError: As `to_stack`.
    """
    if model.spatial_dims == 3 or model.slice_preprocessing is None:
        return slices
    prepared = []
    for one in slices:
        progress(0.0, "Preparing the slices")
        try:
            # MONAI's transforms return tensors of its own class, which make every operation slower and are not recorded leanly.
            prepared.append(convert_to_tensor(model.slice_preprocessing(one), dtype=torch.float32, track_meta=False))
        except (RuntimeError, ValueError, IndexError, TypeError, MemoryError) as error:
            raise preparing_failed(f"the slices for '{model.name}'", error) from error
    return torch.stack(prepared)


def preparing_failed(of: str, error: Exception) -> EngineError:
    """What an error of a transform means.

    Args:
        of: What was prepared, and for which model.
        error: As the transform raised it.

    Raises:
        EngineError: `out-of-memory`.
    """
    refuse_out_of_memory(error, f"Preparing {of}")
    return EngineError(
        "preprocessing-failed",
        f"Preparing {of} failed: {str(error).strip().rstrip('.')}. Check that it is such an image as the model is for.",
    )


def per_image(model: SegmentationModel, image: MetaTensor, axis: Axis, values: torch.Tensor) -> torch.Tensor:
    """Values (x, y, z) on the model's grid, arranged as the stack is: (1, x, y, z) or (slices, u, v)."""
    return values[None] if model.spatial_dims == 3 else values.movedim(slice_axis(image, axis), 0)


def from_stack(model: SegmentationModel, image: MetaTensor, axis: Axis, values: torch.Tensor) -> torch.Tensor:
    """The inverse of `per_image`."""
    return values[0] if model.spatial_dims == 3 else values.movedim(0, slice_axis(image, axis))
