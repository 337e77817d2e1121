"""The low-level door: one network, one input, one pixel set, one raw map."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch

from SegHiResCAMLib.engine.cam.attention import refuse_without_attention
from SegHiResCAMLib.engine.cam.baselines import BLUR, Baseline, blurred, lowest
from SegHiResCAMLib.engine.cam.batch import collect, explain_batch
from SegHiResCAMLib.engine.cam.leaf import Target, leaves_at
from SegHiResCAMLib.engine.cam.methods import find_method
from SegHiResCAMLib.engine.cam.methods.steps import Gather, HeadWeights
from SegHiResCAMLib.engine.cam.tail import head_weights
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.records.question import OptionValue


def activation_map(
    network: torch.nn.Module,
    inputs: torch.Tensor,
    pixel_set: torch.Tensor,
    class_index: int,
    layer: str,
    method: str = "seg-hires-grad-cam",
    method_options: Mapping[str, OptionValue] | None = None,
) -> torch.Tensor:
    """The raw signed map of S = sum over v of pixel_set(v) * logit_class(v), on the layer's grid, before ReLU.

    Args:
        network: Any module from (1, C, *spatial) to logits (1, K, *spatial), in the mode it shall be explained in (usually eval).
        inputs: (1, C, *spatial).
        pixel_set: Boolean or float (*spatial): which positions are explained, and how much each counts.
        class_index: Output channel.
        layer: Dotted name of a module, as `network.named_modules()` has it; `name@1` for its first call, `name[1]` for the second of
            the tensors it returns.
        method: An identifier of `methods.METHODS`.
        method_options: Of the method, by name, as `Method.options` lists them; None for its defaults.

    Returns:
        (*grid), in the network's own precision. The network is left as it was, with no gradient on it.

    Raises:
        EngineError: Unknown layer, method, option or class, or shapes that do not fit.

    Example:
        >>> from monai.networks.nets import UNet
        >>> network = UNet(3, 1, 4, channels=(8, 16, 32), strides=(2, 2)).eval()
        >>> image = torch.randn(1, 1, 32, 32, 32)
        >>> segment = network(image).argmax(1)[0] == 2
        >>> activation_map(network, image, segment, 2, "model.1.submodule.1").shape
        torch.Size([8, 8, 8])
    """
    chosen = find_method(method).with_options(method_options or {})
    steps = chosen.steps()
    if inputs.ndim < 3 or inputs.shape[0] != 1:
        raise EngineError(
            "inputs-shape", f"The inputs are {tuple(inputs.shape)}, but one item (1, C, *spatial) is needed."
        )
    cotangent = pixel_set.to(device=inputs.device, dtype=inputs.dtype)[None]
    target = Target(class_index)

    with leaves_at(network, [layer]) as leaves:
        if chosen.of_attention:
            refuse_without_attention(chosen.title, {leaf.name: leaf.attention for leaf in leaves})
        ((evidence,),) = explain_batch(
            network, leaves, inputs, [target], lambda _logits: [cotangent], pixels=[float(cotangent.sum())],
            without_content=partial(_without_content, inputs),
        )  # fmt: skip
        step = next(steps)
        while isinstance(step, Gather | HeadWeights):
            if isinstance(step, HeadWeights):
                step = steps.send(head_weights(network, leaves[0], inputs, target))
            else:
                step = steps.send(collect(None, step, step.form(evidence)))
        drawn = step.form(evidence)
        return step.finish(drawn[0] if isinstance(drawn, tuple) else drawn)[0]


def _without_content(inputs: torch.Tensor, which: Baseline) -> torch.Tensor:
    """The inputs of a baseline."""
    size = inputs.shape[2:]
    if which == "air":
        return lowest(inputs).view(1, -1, *[1] * len(size)).expand_as(inputs)
    return blurred(inputs[0], tuple(slice(0, n) for n in size), BLUR * min(size))[None]
