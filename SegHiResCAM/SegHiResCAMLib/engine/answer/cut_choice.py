"""Which engine has a part in a map: PyTorch alone, or OpenVINO where the question asks for speed and it agrees on windows of the map."""

from __future__ import annotations

import torch

from SegHiResCAMLib.engine.cam.converted_cut import CutNetwork, cut_at, is_built
from SegHiResCAMLib.engine.cam.methods import Method
from SegHiResCAMLib.engine.cam.methods.steps import Map
from SegHiResCAMLib.engine.cam.passes import Asked
from SegHiResCAMLib.engine.inference.engine_choice import CHECKED, FEW, is_usable, spread
from SegHiResCAMLib.records.question import Question

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
    if question.precision == "full" or question.engine == "torch" or question.deterministic:
        return None, "PyTorch"
    reason = is_usable(question.engine, asked.workplace.device)
    if reason:
        return None, f"{SHORT}: {reason}"
    if len(layers) > 1 or method.of_attention or not (_is_pointwise(method) or not method.needs_gradient):
        return None, f"{SHORT}: OpenVINO is used for one layer, and for maps of scores or of gradients at each location"
    touched = [(number, place) for number, row in enumerate(asked.touched) for place in row]
    network, window = asked.workplace.network, (1, *asked.images.shape[1:2], *asked.windows.size)
    built = is_built(network, layers[0], window, gradient=method.needs_gradient)
    # A method without gradients computes each window many times.
    if not touched or (question.engine == "auto" and method.needs_gradient and len(touched) <= CHECKED):
        return None, f"{SHORT}: a check of OpenVINO takes longer than so few windows ({len(touched)})"
    if question.engine == "auto" and len(touched) < FEW and not built:
        return None, f"{SHORT}: {len(touched)} windows are too few to be worth a conversion for OpenVINO"
    number, _ = touched[len(touched) // 2]
    row = asked.touched[number]
    places = [row[one] for one in spread(len(row))]
    cpu = torch.device("cpu")
    weights = asked.cotangents(places, cpu)[number]
    target = asked.questions[number].target
    found = cut_at(network, layers[0], asked.inputs(places, cpu), target, weights, gradient=method.needs_gradient)
    return (None, f"{SHORT}: {found}") if isinstance(found, str) else (found, found.engine)


def _is_pointwise(method: Method) -> bool:
    """Whether its map is made at each location alone; where gradients are added up first, small differences may not stay small."""
    step = next(method.steps())
    return isinstance(step, Map) and step.stitching == "added"
