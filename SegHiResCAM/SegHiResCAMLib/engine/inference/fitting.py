"""The size that an image must have for a network, tried out: padded only where the network cannot take it as it is, and no further.

Padding is no matter of taste. Normalisations of the image (instance, group) see it everywhere, so a padded image has another prediction.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import nn

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.inference.windows import Windows, plan_windows, window_size
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.output import main_output

Size = tuple[int, ...]

NOMINAL = 128
"""Locations along an axis where the window is the whole image and there is none."""

_tried: WeakKeyDictionary[nn.Module, dict[Size, bool]] = WeakKeyDictionary()


def windows_of(model: SegmentationModel, image: Size) -> Windows:
    """The windows in which a model predicts an image of this size, as `plan_windows`.

    Raises:
        EngineError: `window-unfit`, where the network cannot take the windows that its description names; as `plan_windows`.
    """
    fits = _fits(model)
    windows = plan_windows(image, model.window, fits)
    if not model.layers_hidden and not fits(windows.size) and any(map(fits, _usual(model.spatial_dims))):
        size = " x ".join(map(str, windows.size))
        raise EngineError(
            "window-unfit",
            f"The network of '{model.name}' cannot compute windows of {size} voxels, which its description names. Correct the window size there "
            "(roi_size of the inferer, or window), or ask the model's author.",
        )
    return windows


def nominal_window(model: SegmentationModel) -> Size:
    """The size of a model's windows where no image is known."""
    return window_size((NOMINAL,) * model.spatial_dims, model.window, _fits(model))


def _usual(dims: int) -> list[Size]:
    """Sizes of which every network that can be tried takes one, but for those of a fixed size."""
    return [(length,) * dims for length in (64, 96, NOMINAL)]


def _fits(model: SegmentationModel) -> Callable[[Size], bool]:
    """Whether the network answers an image of a size with logits of the same size."""
    known = _tried.setdefault(model.network, {})
    shadow: list[nn.Module] = []

    def fits(size: Size) -> bool:
        if size not in known:
            if model.layers_hidden:
                known[size] = _runs(
                    model.network, model.in_channels, _alike(size, model.window.multiple), _device(model)
                )
            else:
                shadow[:] = shadow or [_without_values(model.network)]
                known[size] = _runs(shadow[0], model.in_channels, size, torch.device("meta"))
        return known[size]

    return fits


def _runs(network: nn.Module, channels: int, size: Size, device: torch.device) -> bool:
    precision = next((one.dtype for one in network.parameters() if one.is_floating_point()), torch.float32)
    try:
        with torch.no_grad():
            logits = main_output(network(torch.zeros(1, channels, *size, dtype=precision, device=device)), len(size))
    except (RuntimeError, ValueError, TypeError, AssertionError, LookupError, ArithmeticError) as error:
        refuse_out_of_memory(error)  # on the CPU; otherwise, networks check sizes in ways of their own, or not at all
        return False
    return tuple(logits.shape[2:]) == tuple(size)


def _without_values(network: nn.Module) -> nn.Module:
    """A copy on PyTorch's meta device, which takes no memory and answers in milliseconds."""
    tensors = [*network.parameters(), *network.buffers()]
    empty = {
        id(one): nn.Parameter(one.detach().to("meta"), False) if isinstance(one, nn.Parameter) else one.to("meta")
        for one in tensors
    }
    return copy.deepcopy(network, empty)


def _alike(size: Sequence[int], multiple: int) -> Size:
    """A small size that leaves the same remainders: a TorchScript archive can only be tried by running it."""
    return tuple(length if length <= 2 * multiple else multiple + length % multiple for length in size)


def _device(model: SegmentationModel) -> torch.device:
    return next((one.device for one in model.network.parameters()), torch.device("cpu"))
