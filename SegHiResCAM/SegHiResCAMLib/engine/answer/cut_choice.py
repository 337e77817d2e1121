"""Which engine has a part in a map: PyTorch alone, or OpenVINO where the question asks for speed and it agrees on windows of the map."""

from __future__ import annotations

import torch

from SegHiResCAMLib.engine.cam.converted_cut import CutNetwork, cut_at, is_built
from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.methods.steps import Map
from SegHiResCAMLib.engine.cam.passes import Asked
from SegHiResCAMLib.engine.inference.engine_choice import FEW, is_usable, spread
from SegHiResCAMLib.engine.inference.trial import WORTHWHILE
from SegHiResCAMLib.records.question import Question

FEW_GRADIENTS = 32
"""As `FEW`, for a method with gradients: OpenVINO saves a third of a window at best, and the check takes as long as five of them.
Other methods compute each window many times."""

SHORT = "PyTorch in short numbers"
"""What computes a map of mixed precision where OpenVINO does not."""


def choose_cut(question: Question, method: Method, layers: list[str], asked: Asked) -> tuple[CutNetwork | None, str]:
    """The network cut for OpenVINO; None where PyTorch computes all of it. And what computes, for people.

    A map of full precision is always PyTorch's.

    Args:
        question: As it was asked.
        method: Of the map.
        layers: Its layers.
        asked: Regions that are known beforehand.

    Raises:
        EngineError: `engine-missing`, where OpenVINO is asked for and not installed; `out-of-memory`.
    """
    if question.precision == "full":
        return None, "PyTorch"
    if question.engine == "torch" or question.deterministic:
        return None, SHORT
    found = _why_not(question, method, layers, asked) or _checked(question, method, layers[0], asked)
    return (None, f"{SHORT}: {found}") if isinstance(found, str) else (found, found.engine)


def _why_not(question: Question, method: Method, layers: list[str], asked: Asked) -> str:
    """Why a cut network is not even tried; empty where it is."""
    reason = is_usable(question.engine, asked.workplace.device)
    if reason:
        return reason
    if len(layers) > 1 or method.of_attention or not (_is_pointwise(method) or not method.needs_gradient):
        return "OpenVINO is used for one layer, and for maps of scores or of gradients at each location"
    count = sum(map(len, asked.touched))
    if question.engine == "openvino" and count:
        return ""
    if not count or (method.needs_gradient and count < FEW_GRADIENTS):
        return f"too few windows ({count}) to be worth a check of OpenVINO"
    window = (1, *asked.images.shape[1:2], *asked.windows.size)
    built = is_built(asked.workplace.network, layers[0], window, gradient=method.needs_gradient)
    return "" if built or count >= FEW else f"too few windows ({count}) to be worth a conversion for OpenVINO"


def _checked(question: Question, method: Method, layer: str, asked: Asked) -> CutNetwork | str:
    """The cut network, compared on some windows of the segment in the middle of what is asked; or why it is not used."""
    touched = [number for number, row in enumerate(asked.touched) for _ in row]
    number = touched[len(touched) // 2]
    row = asked.touched[number]
    places = [row[one] for one in spread(len(row))]
    cpu = torch.device("cpu")
    weights = asked.cotangents(places, cpu)[number]
    target, network = asked.questions[number].target, asked.workplace.network
    found = cut_at(network, layer, asked.inputs(places, cpu), target, weights, gradient=method.needs_gradient)
    if isinstance(found, CutNetwork) and question.engine == "auto" and found.pace > WORTHWHILE:
        return f"OpenVINO took {found.pace:.0%} of PyTorch's time on some windows"
    return found


def _is_pointwise(method: Method) -> bool:
    """Whether its map is made at each location alone; where gradients are added up first, small differences may not stay small."""
    step = next(method.steps())
    return isinstance(step, Map) and step.stitching == "added"
