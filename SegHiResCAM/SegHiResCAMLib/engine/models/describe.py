"""A first draft of the description that a plain checkpoint needs: what its weights show is filled in, the rest is listed in `to_do`."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.describe_networks import RECOGNISERS, Shapes, unseen
from SegHiResCAMLib.engine.models.networks import build_network
from SegHiResCAMLib.engine.models.plain import description_of
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_checkpoint, weights_in
from SegHiResCAMLib.engine.models.untrusted.resolver import ConfigComponent
from SegHiResCAMLib.engine.models.weights_matching import named_tensors
from SegHiResCAMLib.writing.errors import WritingError
from SegHiResCAMLib.writing.whole_file import write_text

_TO_DO = (
    "labels: give the structures their names, and check that every channel is one",
    "orientation: the directions of the axes that the network was trained on (RAS, LPS, ...)",
    "spacing: the millimetres between voxels that it was trained on; null keeps the volume's own",
    "intensity: what was done to the voxels' values in training (clip, scale, min-max or z-score); none if left empty",
    "window: the size of the pieces it was trained on; null takes the whole image at once",
)

MAX_PREFIX = 4
"""Words before every name of a checkpoint's weights; more are not tried."""


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
    found, network, notes = _recognised(read_checkpoint(source), source)
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
        "name": description_of(Path(source)).stem,
        "network": {"class": name, "arguments": arguments},
        "labels": [{"name": f"structure {number}"} for number in range(1, max(out_channels, 2))],
        "activation": activation,
        "orientation": "RAS",
        "spacing": None,
        "intensity": [],
        "window": None,
        "to_do": [*_TO_DO, *guesses, *(f"weights: {note}" for note in notes)],
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
        raise EngineError("file-unwritable", error.message) from error


def recognise(checkpoint: Any, file: str) -> tuple[ConfigComponent, torch.nn.Module]:
    """The network whose weights are in a checkpoint by name and shape: what describes it, and itself with these weights.

    Args:
        checkpoint: From `read_checkpoint`.
        file: Its name for error messages.

    Raises:
        EngineError: `network-unrecognised`; or as `weights_in`, where there are no weights by name.
    """
    return _recognised(checkpoint, file)[:2]


def _recognised(checkpoint: Any, file: str) -> tuple[ConfigComponent, torch.nn.Module, tuple[str, ...]]:
    """The same, and notes on the weights."""
    places = named_tensors(checkpoint) or [("", weights_in(checkpoint, file))]
    for _, weights in places:
        for shapes in _views(weights):
            for component in _candidates(shapes):
                with suppress(EngineError):
                    return component, *build_network(component, checkpoint, file, file)
    begins = ", ".join(f"'{name}'" for name in [name for _, one in places for name in one][:3])
    raise EngineError(
        "network-unrecognised",
        f"The weights in '{file}' (they begin with {begins}) do not belong to any network that can be recognised: {', '.join(RECOGNISERS)}. "
        "Ask the model's author for the network's class and arguments.",
    )


def _views(weights: Mapping[str, torch.Tensor]) -> Iterator[Shapes]:
    """The shapes by name, then without each prefix that a good part of the names share, the shortest first."""
    counts = Counter(
        name[: dot.end()] for name in weights for dot in itertools.islice(re.finditer(r"\.", name), MAX_PREFIX)
    )
    for prefix in ("", *sorted((one for one, count in counts.items() if 4 * count >= len(weights)), key=len)):
        yield {
            name.removeprefix(prefix): tuple(tensor.shape)
            for name, tensor in weights.items()
            if name.startswith(prefix)
        }


def _candidates(shapes: Shapes) -> Iterator[ConfigComponent]:
    for name, recogniser in RECOGNISERS.items():
        try:
            yield from (ConfigComponent(name, arguments, "network") for arguments in recogniser(shapes))
        except (ArithmeticError, IndexError, StopIteration, TypeError, ValueError):
            continue  # the names are there, but of tensors with other axes
