"""What a network's output means."""

from __future__ import annotations

from typing import Any

import torch


def main_output(output: Any, axes: int | None = None) -> torch.Tensor:
    """The prediction itself where a network returns more than one, as deeply supervised ones do: the first.

    Args:
        output: A tensor, or a list or tuple of them.
        axes: Spatial axes of the network, where known: DynUNet in training mode stacks its predictions on an axis more.
    """
    main: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return main[:, 0] if axes is not None and main.ndim == axes + 3 else main
