"""The layers of a model: as its description foresees them, or for a volume's own grid."""

from __future__ import annotations

from SegHiResCAMLib.engine.cam.layers import Layer, list_layers
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.fitting import nominal_window, windows_of
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume
from SegHiResCAMLib.engine.inference.slicing import slice_axis, to_stack
from SegHiResCAMLib.engine.inference.windows import Windows
from SegHiResCAMLib.engine.models.model import SegmentationModel
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
        return list_layers(model.network, model.in_channels, nominal_window(model), model.spacing)
    return list_layers(model.network, model.in_channels, windows.size, spacing)


def check_layers(model: SegmentationModel) -> None:
    """Refuse a model whose layers cannot be looked into.

    Raises:
        EngineError: `layers-hidden`.
    """
    if model.layers_hidden:
        raise EngineError("layers-hidden", model.layers_hidden)


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
