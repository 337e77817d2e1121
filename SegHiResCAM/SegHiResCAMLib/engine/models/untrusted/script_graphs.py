"""What a TorchScript program computes with, once it is compiled: every function of it is held against an allowlist, and their whole is bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

# What MONAI's networks consist of, scripted or traced, and their like. None reaches beyond tensors, numbers and texts.
OPERATIONS = frozenset(
    f"aten::{name}"
    for name in """
    Bool Float Int __and__ __contains__ __derive_index __getitem__ __is__ __isnot__ __not__ __or__ __range_length
    _convolution _set_item _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d abs adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d add add_
    addmm affine_grid_generator all alpha_dropout alpha_dropout_ amax amin any append arange argmax argsort
    as_tensor atan atan2 avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm
    cat ceil celu celu_ channel_shuffle chunk clamp clamp_ clamp_max clamp_min clear clone col2im constant_pad_nd
    contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d copy copy_ cos cumprod cumsum
    detach dim div div_ dropout dropout_ einsum elu elu_ eq erf exp exp_ expand expand_as extend
    feature_alpha_dropout feature_alpha_dropout_ feature_dropout feature_dropout_ fill_ flatten flip floor
    floor_divide floordiv fmod format full full_like gather ge gelu get getitem grid_sampler group_norm gt
    hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ hstack im2col index index_fill index_select
    insert instance_norm is_floating_point isfinite isinf isnan items keys layer_norm le leaky_relu leaky_relu_ len
    linalg_vector_norm linear list log log10 log1p log2 log_softmax logical_and logical_not logical_xor logsumexp lt
    masked_fill masked_select matmul max max_pool1d max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices maximum mean meshgrid min minimum mish mish_ movedim mul mul_ nan_to_num narrow ne neg
    new_zeros norm numel ones ones_like outer pad permute pixel_shuffle pixel_unshuffle pop pow prelu prod rand
    reciprocal reflection_pad2d reflection_pad3d relu relu6 relu_ remainder repeat replication_pad2d
    replication_pad3d reshape reverse rms_norm roll round rrelu rsqrt rsub scaled_dot_product_attention select selu
    sigmoid sigmoid_ sign silu silu_ sin size slice softmax softplus softshrink sort sorted split split_with_sizes
    sqrt square squeeze squeeze_ stack std std_mean str sub sub_ sum t tan tanh tanh_ tensor threshold threshold_ to
    topk transpose transpose_ tril triu trunc type_as unbind unflatten unsqueeze unsqueeze_ update
    upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_trilinear3d values var var_mean view view_as vstack warn where zero_ zeros
    zeros_like
    """.split()  # noqa: SIM905
) | frozenset(
    f"prim::{name}"
    for name in """
    CallFunction CallMethod Constant ConstantChunk DictConstruct GetAttr If ImplicitTensorToNum ListConstruct ListUnpack Loop NumToTensor RaiseException SetAttr
    TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized data device dtype is_cuda isinstance layout max min requires_grad shape
    unchecked_cast unchecked_unwrap_optional
    """.split()  # noqa: SIM905
)

MAX_NODES = 1_000_000
"""Of a method with all that it calls: PyTorch copies each function to wherever it is called before it runs."""


class RefusedGraphError(Exception):
    """A function is not only a computation with tensors; the text completes "the archive ..."."""


@dataclass
class _Function:
    """What stands in a function by itself, and how often it calls others, by their qualified names."""

    nodes: int = 0
    calls: Counter[str] = field(default_factory=Counter)


def check_functions(unit: torch.CompilationUnit) -> None:
    """Refuse a program with a function that does anything but compute, whether or not it is called by what is run here.

    A program can be entered by more ways than its forward pass: hooks, methods that Python calls for operators, properties. So none of its
    functions may do more than is allowed.

    Args:
        unit: Holds all functions of the program, methods and hooks among them.

    Raises:
        RefusedGraphError: One does more, or all that is called is out of proportion.
    """
    compiled: list[Any] = unit.get_functions()  # type: ignore[func-returns-value, assignment]  # as PyTorch's own stub has it
    functions = {function.qualified_name: _looked_through(function.graph) for function in compiled}
    sizes: dict[str, int] = {}
    for name in functions:
        _measure(name, functions, sizes)


def _looked_through(graph: Any) -> _Function:
    found = _Function()
    for node in _nodes(graph):
        kind = node.kind()
        if kind not in OPERATIONS:
            message = (
                f"would run '{kind[:100]}', which is not among the operations that networks consist of; nothing was run"
            )
            raise RefusedGraphError(message)
        found.nodes += 1
        if kind == "prim::CallFunction":
            found.calls[str(next(node.inputs()).type())] += 1
        elif kind == "prim::CallMethod":
            found.calls[f"{next(node.inputs()).type()}.{node.s('name')}"] += 1
    return found


def _nodes(block: Any) -> Iterator[Any]:
    waiting = [block]
    while waiting:
        for node in waiting.pop().nodes():
            yield node
            waiting.extend(node.blocks())


def _measure(name: str, functions: dict[str, _Function], sizes: dict[str, int]) -> None:
    """Fill `sizes` with how many nodes there are in `name` and all that it calls. No function can call itself: PyTorch has no recursion."""
    path = [name]
    while path:
        function = functions.get(path[-1])
        if function is None:
            message = f"calls '{path[-1][:100]}', which is not in it; nothing was run"
            raise RefusedGraphError(message)
        missing = next((called for called in function.calls if called not in sizes), None)
        if missing in path:
            message = f"has a function '{path[-1][:100]}' that calls itself; nothing was run"
            raise RefusedGraphError(message)
        if missing is not None:
            path.append(missing)
            continue
        done = path.pop()
        sizes[done] = function.nodes + sum(count * sizes[called] for called, count in function.calls.items())
        if sizes[done] > MAX_NODES:
            message = f"calls its functions more than {MAX_NODES} times over; nothing was run"
            raise RefusedGraphError(message)
