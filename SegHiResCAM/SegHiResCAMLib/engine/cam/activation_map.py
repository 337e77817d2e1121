"""The low-level door: one network, one input, one pixel set, one raw map."""

from __future__ import annotations

import torch

from SegHiResCAMLib.engine.cam.leaf import activation_and_gradient, leaf_at
from SegHiResCAMLib.engine.cam.methods import find_method, single_map
from SegHiResCAMLib.engine.errors import EngineError


def activation_map(
    network: torch.nn.Module,
    inputs: torch.Tensor,
    pixel_set: torch.Tensor,
    class_index: int,
    layer: str,
    method: str = "seg-hires-grad-cam",
) -> torch.Tensor:
    """The raw signed map of S = sum over v of pixel_set(v) * logit_class(v), on the layer's grid, before ReLU.

    Args:
        network: Any module from (1, C, *spatial) to logits (1, K, *spatial), in the mode it shall be explained in (usually eval).
        inputs: (1, C, *spatial).
        pixel_set: Boolean or float (*spatial): which positions are explained, and how much each counts.
        class_index: Output channel.
        layer: Dotted name of a module, as `network.named_modules()` has it.
        method: An identifier of `methods.METHODS`.

    Returns:
        (*grid), in the network's own precision. The network is left as it was, with no gradient on it.

    Raises:
        EngineError: Unknown layer, method or class, or shapes that do not fit.

    Example:
        >>> from monai.networks.nets import UNet
        >>> network = UNet(3, 1, 4, channels=(8, 16, 32), strides=(2, 2)).eval()
        >>> image = torch.randn(1, 1, 32, 32, 32)
        >>> segment = network(image).argmax(1)[0] == 2
        >>> activation_map(network, image, segment, 2, "model.1.submodule.1").shape
        torch.Size([8, 8, 8])
    """
    chosen = find_method(method)
    if inputs.ndim < 3 or inputs.shape[0] != 1:
        raise EngineError(
            "inputs-shape", f"The inputs are {tuple(inputs.shape)}, but one item (1, C, *spatial) is needed."
        )
    cotangent = pixel_set.to(device=inputs.device, dtype=inputs.dtype)[None]
    with leaf_at(network, layer) as leaf:
        activation, gradient, _ = activation_and_gradient(network, leaf, inputs, cotangent, class_index)
    return single_map(chosen, activation, gradient)[0]
