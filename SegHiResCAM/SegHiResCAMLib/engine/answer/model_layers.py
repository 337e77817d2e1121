"""The layers of a model: as its description foresees them, or for a volume's own grid."""

from __future__ import annotations

from monai.transforms import Orientationd, Resized, Spacingd, Zoomd

from SegHiResCAMLib.engine.cam.layers import Layer, list_layers
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.fitting import nominal_window, windows_of
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume
from SegHiResCAMLib.engine.inference.slicing import slice_axis, to_stack
from SegHiResCAMLib.engine.inference.windows import Windows
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.nnunet.crop_and_resample import Resampled
from SegHiResCAMLib.records.question import Axis


def model_layers(
    model: SegmentationModel, windows: Windows | None = None, spacing: tuple[float, ...] | None = None
) -> list[Layer]:
    """The layers of a model, for windows of a given plan or, without one, of the size and spacing its description names.

    Raises:
        EngineError: `layers-hidden`, for TorchScript; as `list_layers`.
    """
    check_layers(model)
    if windows is None:
        return list_layers(model.network, model.in_channels, nominal_window(model), nominal_spacing(model))
    return list_layers(model.network, model.in_channels, windows.size, spacing)


def check_layers(model: SegmentationModel) -> None:
    """Refuse a model whose layers cannot be looked into.

    Raises:
        EngineError: `layers-hidden`.
    """
    if model.layers_hidden:
        raise EngineError("layers-hidden", model.layers_hidden)


def nominal_spacing(model: SegmentationModel) -> tuple[float, ...] | None:
    """Millimetres between positions of the network's input where the model's preprocessing ends on a fixed spacing, else None.

    For a 2D network, of its axial slices.
    """
    spacing, axes = None, "RAS"
    for step in model.preprocessing.transforms:
        if isinstance(step, Resampled):
            return step.spacing
        if isinstance(step, Orientationd):
            axes = step.ornt_transform.axcodes or axes
        elif isinstance(step, Spacingd):
            spacing = tuple(float(length) for length in step.spacing_transform.pixdim)
        elif isinstance(step, Resized | Zoomd):
            spacing = None
    if spacing is None or len(spacing) != 3 or min(spacing) <= 0:
        return None
    return tuple(step for step, axis in zip(spacing, axes, strict=True) if model.spatial_dims == 3 or axis not in "SI")


def volume_layers(model: SegmentationModel, prepared: PreparedVolume, axis: Axis) -> list[Layer]:
    """The layers of a model for the windows and the spacing of a volume that is prepared for it.

    Args:
        model: The model.
        prepared: From `prepare`.
        axis: Of slices, for a 2D network.
    """
    windows = windows_of(model, tuple(to_stack(model, prepared.image, axis).shape[2:]))
    return model_layers(model, windows, stack_spacing(model, prepared, axis))


def stack_spacing(model: SegmentationModel, prepared: PreparedVolume, axis: Axis) -> tuple[float, ...]:
    """Millimetres between positions along each axis of the network's input."""
    spacing = list(prepared.spacing)
    if model.spatial_dims == 2:
        del spacing[slice_axis(prepared.image, axis)]
    return tuple(spacing)
