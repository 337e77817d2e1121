"""What is known of PyTorch's own layers and MONAI's attention: the one table of their classes, and what each means for a map.

A network of other layers is explained all the same; what is not in here is taken as it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.networks.blocks.patchembedding import PatchEmbeddingBlock
from monai.networks.blocks.selfattention import SABlock
from monai.networks.nets.swin_unetr import SwinTransformerBlock, WindowAttention, get_window_size
from monai.networks.nets.vit import ViT
from torch import nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d

PLAIN_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
CONVOLUTIONS = (*PLAIN_CONVOLUTIONS, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLVING = (torch.conv1d, torch.conv2d, torch.conv3d)
"""The functions behind the plain ones, by the number of their axes from 1."""
CONVOLVING_TRANSPOSED = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)

MULTIPLYING = (*CONVOLUTIONS, nn.Linear)
"""What takes nearly all of a network's time: a multiplication for each weight and position."""

WITH_RUNNING_STATISTICS = (
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
)
"""Normalisations of every channel by itself, whose statistics may be those of training."""
NORMALISATIONS = (*WITH_RUNNING_STATISTICS, nn.GroupNorm)

GATES = (nn.Sigmoid, nn.Softmax)
"""Their output weighs something else, as in attention gates."""

MEAN_FOR_MAXIMUM: dict[type[nn.Module], Callable[..., torch.Tensor]] = {
    nn.MaxPool2d: nn.functional.avg_pool2d,
    nn.MaxPool3d: nn.functional.avg_pool3d,
}
"""Pooling that takes a maximum, and what takes the mean of the same positions."""

_IN_PLACE_OF_ITS_INPUT = frozenset({"activation", "batchnorm", "instancenorm", "dropout"})
"""Modules, of PyTorch and of libraries that follow it, with layers whose output lies where their input does."""


def normalises_the_image(module: nn.Module) -> bool:
    """Whether a layer normalises by statistics of the image itself, also in eval mode."""
    if isinstance(module, WITH_RUNNING_STATISTICS):
        return module.training or not module.track_running_stats
    return isinstance(module, nn.GroupNorm)


def multiplications(module: Any, inputs: torch.Tensor, output: torch.Tensor) -> int:
    """How many a layer of `MULTIPLYING` took."""
    spread = inputs if getattr(module, "transposed", False) else output  # what each row of the weight is applied to
    return spread.numel() * int(module.weight[0].numel())


def takes_channels_apart(normalisation: nn.Module) -> bool:
    """Whether a normalisation treats every channel by itself."""
    return not isinstance(normalisation, nn.GroupNorm) or normalisation.num_groups == normalisation.num_channels


def is_pointwise(convolution: Convolution) -> bool:
    """Whether a convolution looks at every position, and mixes all channels there: 1x1."""
    return all(size == 1 for size in (*convolution.kernel_size, *convolution.stride)) and convolution.groups == 1


def keeps_positions(module: nn.Module) -> bool:
    """Whether a layer without parts acts on each position by itself, or by statistics: an activation, a normalisation, a dropout."""
    own = type(module).__module__.rsplit(".", 1)[-1] in _IN_PLACE_OF_ITS_INPUT
    return own or isinstance(module, nn.GroupNorm)


def mean_for_maximum(module: Any, inputs: torch.Tensor) -> torch.Tensor:
    """The mean of what a layer of `MEAN_FOR_MAXIMUM` takes the maximum of."""
    pool = next((mean for kind, mean in MEAN_FOR_MAXIMUM.items() if isinstance(module, kind)))
    return pool(inputs, module.kernel_size, module.stride, module.padding, module.ceil_mode)


ATTENTION: dict[str, type[nn.Module]] = {"drop_weights": SABlock, "softmax": WindowAttention}
"""What returns the weights of attention: a module of this name in one of this class."""


def attention_owner(network: nn.Module, path: str) -> nn.Module | None:
    """The module whose input says where the keys of the attention at `path` lie; None where there is no such attention."""
    above, _, name = path.rpartition(".")
    if name not in ATTENTION or not isinstance(network.get_submodule(above), ATTENTION[name]):
        return None
    while True:
        module: nn.Module = network.get_submodule(above)
        if isinstance(module, SwinTransformerBlock | ViT):
            owner: nn.Module = module.patch_embedding if isinstance(module, ViT) else module
            return owner
        if not above:
            return None
        above = above.rpartition(".")[0]


Sizes = tuple[int, ...]


def tokens_of(owner: nn.Module, shape: Sizes) -> tuple[Sizes, Sizes, Sizes]:
    """Tokens along each axis, those of one window, and how far windows are moved, for an owner's input of this shape."""
    if isinstance(owner, SwinTransformerBlock):  # (B, *grid, C)
        window, shift = get_window_size(shape[1:-1], owner.window_size, owner.shift_size)
        return shape[1:-1], tuple(window), tuple(shift)
    assert isinstance(owner, PatchEmbeddingBlock)  # (B, C, *image)
    embedding = owner.patch_embeddings
    patch = (
        embedding.kernel_size
        if isinstance(embedding, PLAIN_CONVOLUTIONS)
        else tuple(embedding[0].axes_lengths.values())
    )
    grid = tuple(n // p for n, p in zip(shape[2:], patch, strict=True))
    return grid, grid, (0,) * len(grid)
