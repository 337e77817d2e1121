"""A first draft of the description that a plain checkpoint needs: what its weights show is filled in, the rest is listed in `to_do`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.describe_networks import RECOGNISERS, Shapes, unseen
from SegHiResCAMLib.engine.models.networks import build_network
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_weights
from SegHiResCAMLib.engine.models.untrusted.resolver import Component
from SegHiResCAMLib.writing.errors import WritingError
from SegHiResCAMLib.writing.whole_file import write_text

_TO_DO = (
    "labels: give the structures their names, and check that there is none too many",
    "orientation: the directions of the axes that the network was trained on (RAS, LPS, ...)",
    "spacing: the millimetres between voxels that it was trained on; null keeps the volume's own",
    "intensity: what was done to the voxels' values in training (clip, scale, min-max or z-score); none if left empty",
    "window: the size of the pieces it was trained on; null takes the whole image at once",
)


@dataclass(frozen=True)
class Draft:
    """A description that waits to be finished.

    Attributes:
        content: As the schema has it, with `to_do`.
        parameters: How many numbers the network learned.
    """

    content: dict[str, Any]
    parameters: int


def describe_checkpoint(path: str | os.PathLike[str]) -> Draft:
    """Recognise the network that a checkpoint's weights belong to. It was built, and the weights fit it, when this returns.

    Raises:
        EngineError: `weights-…`, as `read_weights`; `network-unrecognised`, naming what the weights begin with.
    """
    source = os.fspath(path)
    weights = read_weights(source)
    found, network = recognise(weights, source)
    name, arguments = found.target, found.arguments
    out_channels = arguments["decoder_channels"][-1] if "decoder_channels" in arguments else arguments["out_channels"]
    activation = "sigmoid" if out_channels == 1 else "softmax"
    guesses = [
        f"network.arguments.{argument}: a guess, because {why}" for argument, why in unseen(name, arguments).items()
    ]
    if out_channels > 1:
        guesses.append(
            "activation: softmax is a guess; sigmoid where structures may overlap, and then channel 0 is one of them"
        )
    content = {
        "name": Path(source).stem,
        "network": {"class": name, "arguments": arguments},
        "labels": [{"name": f"structure {number}"} for number in range(1, max(out_channels, 2))],
        "activation": activation,
        "orientation": "RAS",
        "spacing": None,
        "intensity": [],
        "window": None,
        "to_do": [*_TO_DO, *guesses],
    }
    return Draft(content, sum(parameter.numel() for parameter in network.parameters()))


def write_draft(draft: Draft, path: Path, *, replace: bool = False) -> None:
    """Write a draft, whole or not at all.

    Raises:
        EngineError: `file-exists`, unless it may be replaced; `file-unwritable`.
    """
    if path.exists() and not replace:
        raise EngineError(
            "file-exists", f"'{path}' exists already. Name another file with -o, or replace it with --force."
        )
    try:
        write_text(path, json.dumps(draft.content, indent=4, ensure_ascii=False) + "\n")
    except WritingError as error:
        raise EngineError("file-unwritable", error.sentence) from error


def recognise(weights: Mapping[str, torch.Tensor], file: str) -> tuple[Component, torch.nn.Module]:
    """The network whose weights have exactly these names and shapes: what describes it, and itself with these weights.

    Args:
        weights: A state dict.
        file: Its name for the error sentence.

    Raises:
        EngineError: `network-unrecognised`.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for component in _candidates(shapes):
        with suppress(EngineError):
            return component, build_network(component, dict(weights), file, file)
    begins = ", ".join(f"'{name}'" for name in list(weights)[:3])
    raise EngineError(
        "network-unrecognised",
        f"The weights in '{file}' (they begin with {begins}) are of none of the networks that are recognised: {', '.join(RECOGNISERS)}. "
        "Ask the sender for the network's class and arguments.",
    )


def _candidates(shapes: Shapes) -> Iterator[Component]:
    for name, recogniser in RECOGNISERS.items():
        try:
            yield from (Component(name, arguments, "network") for arguments in recogniser(shapes))
        except (ArithmeticError, IndexError, StopIteration, TypeError, ValueError):
            continue  # the names are there, but of tensors with other axes
