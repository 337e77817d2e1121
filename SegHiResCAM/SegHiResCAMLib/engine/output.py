"""What a network's output means."""

from __future__ import annotations

from typing import Any

import torch


def main_output(output: Any) -> torch.Tensor:
    """The prediction itself where a network returns more than one tensor, as deeply supervised ones do: the first element."""
    main: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return main
