"""Which engine computes forward passes without a gradient: PyTorch, or OpenVINO where it agrees with PyTorch on real windows and is worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.inference.openvino_network import convert, converted, is_installed, openvino_version
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.output import main_output
from SegHiResCAMLib.engine.window_settings import Network
from SegHiResCAMLib.kept_memory import release_memory
from SegHiResCAMLib.records.question import Engine

FEW = 16
"""Fewer windows take PyTorch less time than OpenVINO takes to convert a network."""

OPENVINO = "OpenVINO"
"""How the words about a job begin that was computed by it."""

CHECKED = 3
"""Windows of a job on which the engines are compared: they differ in how near OpenVINO comes, above all where a network normalises each by itself."""

LOGITS, LABELS = 1e-3, 1e-4
"""How far OpenVINO may be from PyTorch on a window: the largest difference, of the logits' range; and the share of labels, all at ties, that differ."""


@dataclass(frozen=True)
class Forward:
    """What computes forward passes.

    Attributes:
        network: (B, C, *window) -> (B, K, *window).
        batch: Windows at once; None finds out.
        engine: Which it is, and why, for people.
    """

    network: Network
    batch: int | None
    engine: str


def choose_forward(
    model: SegmentationModel,
    device: torch.device,
    windows: int,
    examples: Callable[[], Iterator[torch.Tensor]],
    decide: Callable[[torch.Tensor], torch.Tensor],
    engine: Engine,
) -> Forward:
    """The engine for a job.

    Args:
        model: Its network is on `device`.
        device: Where to compute.
        windows: How many the job has.
        examples: Gives some of them, as `spread` chooses, (1, C, *window) each.
        decide: Label values (B, *window) of logits.
        engine: As the user chose.

    Raises:
        EngineError: `engine-missing`, where OpenVINO is asked for and not installed; `out-of-memory`.
    """
    if engine == "torch":
        return _torch(model, "as chosen")
    reason = is_usable(engine, device)
    if reason:
        return _torch(model, reason)
    if engine == "auto" and windows <= CHECKED:
        return _torch(model, f"too few windows ({windows}) to be worth a check of OpenVINO")
    given = examples()
    example = next(given)
    if engine == "auto" and windows < FEW and converted(model.network, tuple(example.shape)) is None:
        return _torch(model, f"too few windows ({windows}) to be worth a conversion for OpenVINO")
    return _openvino(model, chain([example], given), decide)


def spread(count: int) -> list[int]:
    """The numbers of up to `CHECKED` among so many, from 0, spread evenly."""
    return sorted({int((number + 0.5) * count / CHECKED) for number in range(CHECKED)})


def is_usable(engine: Engine, device: torch.device) -> str:
    """Why OpenVINO cannot be used; empty where it can.

    Raises:
        EngineError: `engine-missing`, where it is asked for and not installed.
    """
    if is_installed():
        return "" if device.type == "cpu" else "OpenVINO is used on the CPU only"
    if engine != "openvino":
        return "OpenVINO is not installed"
    raise EngineError(
        "engine-missing",
        "OpenVINO is not installed. Install it with 'pip install seghirescam[cpu]', or choose the engine 'torch'.",
    )


def _openvino(
    model: SegmentationModel, examples: Iterator[torch.Tensor], decide: Callable[[torch.Tensor], torch.Tensor]
) -> Forward:
    """OpenVINO where it can compute the network and agrees with PyTorch on every example, else PyTorch."""
    difference = 0.0
    # All by PyTorch before any by OpenVINO: each needs memory that is of no use to the other.
    owns = [(example, main_output(model.network(example), example.ndim - 2)) for example in examples]
    release_memory()
    for example, own in owns:
        try:
            other = convert(model.network, example)
            release_memory()  # what it was traced in
            found = other(example)
        except Exception as error:  # noqa: BLE001 - networks fail to convert in many ways, and PyTorch computes them all
            refuse_out_of_memory(error)
            return _torch(model, f"OpenVINO cannot compute this network ({type(error).__name__})")
        difference = max(difference, _difference(own, found))
        if not difference <= LOGITS or float((decide(own) != decide(found)).float().mean()) > LABELS:
            return _torch(model, f"OpenVINO differed by {difference:.1g} of the logits' range on a window")
    agreement = f"{difference:.1g} of the logits' range from PyTorch on a window"
    return Forward(other, 1, f"{OPENVINO} {openvino_version()}: {agreement}")


def _torch(model: SegmentationModel, reason: str) -> Forward:
    return Forward(model.network, None, f"PyTorch: {reason}")


def _difference(own: torch.Tensor, other: torch.Tensor) -> float:
    """The largest, as a share of the range; infinite where shapes differ or a value is not finite."""
    if own.shape != other.shape or not (own.isfinite().all() and other.isfinite().all()):
        return float("inf")
    worst, span = float((own - other).abs().max()), float(own.max() - own.min())
    return worst / span if span > 0 else 0.0 if worst == 0 else float("inf")
