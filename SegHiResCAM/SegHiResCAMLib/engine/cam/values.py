"""A network with other values in its parameters, for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def swapped_values(
    network: nn.Module, value: Callable[[nn.Module, str, torch.Tensor], torch.Tensor | None]
) -> Iterator[None]:
    """Parameters and buffers as `value(module, name, tensor)` gives them while open; the very same tensors are back afterwards.

    `torch.func.functional_call` would do this, but where modules are shared under several names (DynUNet) it does not put everything
    back.

    Args:
        network: Any module.
        value: A tensor to stand in for a parameter or buffer, or None to leave it.
    """
    kept: list[tuple[dict[str, Any], str, torch.Tensor, nn.Module]] = [
        (store, name, tensor, module)
        for module in network.modules()
        for store in (module._parameters, module._buffers)
        for name, tensor in store.items()
        if tensor is not None
    ]
    try:
        for store, name, tensor, module in kept:
            other = value(module, name, tensor.detach())
            if other is not None:
                is_parameter = isinstance(tensor, nn.Parameter)
                store[name] = nn.Parameter(other, requires_grad=False) if is_parameter else other
        yield
    finally:
        for store, name, tensor, _ in kept:
            store[name] = tensor
