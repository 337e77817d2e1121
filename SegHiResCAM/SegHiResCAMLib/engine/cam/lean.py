"""A tail backward pass that costs what the gradient of one layer needs, and no more.

PyTorch records for the general case. With frozen weights and a leaf inside the network it still

- keeps the input of every convolution, which only the gradient of its weights needs;
- computes the gradient of PReLU's weight, which nobody asked for;
- carries the gradient back into skip connections, up to the concatenation, where it is thrown away;
- computes the input's gradient of a convolution by kernels that take several times as long as the convolution itself where channels are few
  (oneDNN, on the CPU), although it is itself a convolution, with the kernel flipped.

While `LeanGradients` is open, convolutions, PReLUs and concatenations do without the first three: values and gradients are those of PyTorch's own
operations, bit for bit where a kernel's sums do not depend on how many channels it computes. Flipped kernels add in another order, so they are an option.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from SegHiResCAMLib.engine.cam.layer_classes import CONVOLVING, CONVOLVING_TRANSPOSED

KEPT = "_seghirescam_needed"
"""Attribute of a concatenation that says which of its channels need a gradient."""

BLOCK = 16
"""oneDNN's kernels take channels in blocks of this size; a part that does not fill its blocks would be slower than the whole."""


class LeanGradients(TorchFunctionMode):
    """While open, calls of convolutions, PReLU and concatenation on frozen weights record only what the gradient of their input needs.

    Args:
        flip: Whether gradients are computed with flipped kernels where that is faster; they then differ by rounding.
    """

    def __init__(self, *, flip: bool) -> None:
        super().__init__()
        self.flip = flip

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by PyTorch in place of every function of its own."""
        kwargs = kwargs or {}
        substitute = SUBSTITUTES.get(func) if torch.is_grad_enabled() else None
        found = substitute(self.flip, *args, **kwargs) if substitute else None
        return func(*args, **kwargs) if found is None else found


@dataclass(frozen=True)
class _Settings:
    """Of a convolution, in the order in which `torch.convolution` takes them; and whether its kernel may be flipped for its gradient."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    output_padding: tuple[int, ...]
    groups: int
    flip: bool

    def __iter__(self) -> Any:
        return iter((self.stride, self.padding, self.dilation, self.transposed, self.output_padding, self.groups))


@dataclass(frozen=True)
class _Needed:
    """Which channels of a concatenation need a gradient: those of `stand_in`, from `start` on, as long as `version` is the tensor's."""

    stand_in: torch.Tensor
    start: int
    version: int


class _StandIn(torch.autograd.Function):
    """A tensor's place in the graph without its memory."""

    @staticmethod
    def forward(_ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.new_empty(1).expand(tensor.shape)

    @staticmethod
    def backward(_ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


class _Convolution(torch.autograd.Function):
    """A convolution of `inputs` that hands its gradient to `receiver`: their channels from `start` on."""

    @staticmethod
    def forward(
        ctx: Any,
        receiver: torch.Tensor,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        compute: Callable[[torch.Tensor], torch.Tensor],
        settings: _Settings,
        start: int,
    ) -> torch.Tensor:
        ctx.weight, ctx.settings, ctx.start = weight, settings, start
        ctx.shape, ctx.dtype = receiver.shape, receiver.dtype
        return compute(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        axis = 0 if ctx.settings.transposed else 1
        weight = ctx.weight.narrow(axis, ctx.start, ctx.shape[1]) if ctx.settings.groups == 1 else ctx.weight
        found = _input_gradient(gradients[0], weight.to(gradients[0].dtype), ctx.shape, ctx.settings)
        return found.to(ctx.dtype), None, None, None, None, None


def _input_gradient(
    gradient: torch.Tensor, weight: torch.Tensor, shape: torch.Size, settings: _Settings
) -> torch.Tensor:
    kernel = weight.shape[2:]
    dense = settings.groups == 1 and {*settings.stride, *settings.dilation} == {1}
    inside = all(border < length for border, length in zip(settings.padding, kernel, strict=True))
    if settings.flip and gradient.device.type == "cpu" and dense and inside:
        flipped = weight.flip(*range(2, weight.ndim)).transpose(0, 1)
        padding = [k - 1 - p for p, k in zip(settings.padding, kernel, strict=True)]
        return torch.convolution(
            gradient, flipped, None, settings.stride, padding, settings.dilation, False, padding, 1
        )
    stand_in = gradient.new_empty(1).expand(shape)  # only its shape counts
    found: torch.Tensor = torch.ops.aten.convolution_backward(
        gradient, stand_in, weight, None, *settings, output_mask=(True, False, False)
    )[0]
    return found


def _convolution(
    flip: bool,
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> torch.Tensor | None:
    def compute(one: torch.Tensor) -> torch.Tensor:
        return CONVOLVING[one.ndim - 3](one, weight, bias, stride, padding, dilation, groups)

    settings = _settings(inputs, flip, stride, padding, dilation, False, 0, groups)
    return _recorded(inputs, weight, bias, compute, settings)


def _transposed(
    flip: bool,
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> torch.Tensor | None:
    def compute(one: torch.Tensor) -> torch.Tensor:
        return CONVOLVING_TRANSPOSED[one.ndim - 3](one, weight, bias, stride, padding, output_padding, groups, dilation)

    settings = _settings(inputs, flip, stride, padding, dilation, True, output_padding, groups)
    return _recorded(inputs, weight, bias, compute, settings)


def _settings(
    inputs: torch.Tensor,
    flip: bool,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> _Settings | None:
    if isinstance(padding, str):
        return None

    def each(value: int | Sequence[int]) -> tuple[int, ...]:
        axes = inputs.ndim - 2
        return (value,) * axes if isinstance(value, int) else tuple(value) * (axes if len(value) == 1 else 1)

    return _Settings(
        each(stride), each(padding), each(dilation), transposed, each(output_padding), groups, flip and not transposed
    )


def _recorded(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    compute: Callable[[torch.Tensor], torch.Tensor],
    settings: _Settings | None,
) -> torch.Tensor | None:
    learning = weight.requires_grad or (bias is not None and bias.requires_grad)
    if settings is None or not _plain(inputs) or learning or inputs.ndim != weight.ndim:
        return None
    needed: _Needed | None = getattr(inputs, KEPT, None)
    if needed is None or needed.version != inputs._version or settings.groups > 1:
        return _applied(_Convolution, inputs, inputs, weight, compute, settings, 0)
    return _applied(_Convolution, needed.stand_in, inputs.detach(), weight, compute, settings, needed.start)


def _prelu(_flip: bool, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor | None:
    if not _plain(inputs) or weight.requires_grad or weight.numel() != 1:
        return None
    return torch.nn.functional.leaky_relu(inputs, float(weight))


def _concatenation(_flip: bool, tensors: Any, dim: int = 0) -> torch.Tensor | None:
    needing = [number for number, one in enumerate(tensors) if one.requires_grad]
    if dim != 1 or len(needing) != 1 or not all(type(one) is torch.Tensor for one in tensors):
        return None
    (number,) = needing
    start = sum(one.shape[1] for one in tensors[:number])
    whole = torch.cat(tensors, dim)
    if not (start % BLOCK or tensors[number].shape[1] % BLOCK):
        setattr(whole, KEPT, _Needed(_applied(_StandIn, tensors[number]), start, whole._version))
    return whole


def _applied(function: type[torch.autograd.Function], *arguments: Any) -> torch.Tensor:
    """PyTorch does not say what `apply` returns."""
    apply: Callable[..., torch.Tensor] = function.apply
    return apply(*arguments)


def _plain(inputs: torch.Tensor) -> bool:
    return type(inputs) is torch.Tensor and inputs.requires_grad


SUBSTITUTES: dict[Callable[..., Any], Callable[..., Any]] = {
    **dict.fromkeys(CONVOLVING, _convolution),
    **dict.fromkeys(CONVOLVING_TRANSPOSED, _transposed),
    torch.prelu: _prelu,
    torch.cat: _concatenation,
}
"""What stands for which function; each answers None where it has nothing to save."""
