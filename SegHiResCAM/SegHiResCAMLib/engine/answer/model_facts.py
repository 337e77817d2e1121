"""All that there is to know of a model before it is used, ready for JSON."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from SegHiResCAMLib.engine.answer.model_layers import model_layers
from SegHiResCAMLib.engine.answer.preparation import intensities_of, orientation_of
from SegHiResCAMLib.engine.cam.layers import suggest_layer
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.fitting import nominal_window
from SegHiResCAMLib.engine.models import FORMATS, Label, SegmentationModel
from SegHiResCAMLib.terminology import Code


def model_facts(model: SegmentationModel) -> dict[str, Any]:
    """Format, network, inputs, labels, spacing, windows, layers worth explaining, licence and SHA-256 of a model."""
    return {
        "name": model.name,
        "description": model.description,
        "source": model.source,
        "format": next((_kind(name) for name, recognises, _ in FORMATS if recognises(Path(model.source))), ""),
        "weights_file": model.weights_file,
        "network": model.architecture or type(model.network).__name__,
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "spatial_dims": model.spatial_dims,
        "in_channels": model.in_channels,
        "inputs": list(model.inputs),
        "activation": model.activation,
        "labels": [_label_facts(label) for label in model.labels],
        "spacing_mm": list(model.spacing or ()),
        "window": list(model.window.size or ()),
        "overlap": model.window.overlap if model.window.size else None,
        "multiple": model.window.multiple,
        "largest_component": model.largest_component,
        "orientation": orientation_of(model),
        "intensities": intensities_of(model),
        "preprocessing": [type(step).__name__ for step in model.preprocessing.transforms],
        **_layer_facts(model),
        "licence": model.licence,
        "notes": list(model.notes),
        "sha256": model.sha256,
    }


def _kind(name: str) -> str:
    """What a format is called, without the files that it may consist of: "MONAI bundle"."""
    return re.sub(r"(, folder or zip)? \([^)]*\)", "", name)


def _label_facts(label: Label) -> dict[str, Any]:
    known = label.terminology
    return {
        "name": label.name,
        "value": label.value,
        "channel": label.channel,
        "color": [round(part * 255) for part in label.color],
        "category": _code(known.category) if known else None,
        "type": _code(known.type) if known else None,
        "modifier": _code(known.modifier) if known else None,
        "region": _code(known.region) if known else None,
    }


def _code(code: Code | None) -> dict[str, str] | None:
    return {"scheme": code.scheme, "value": code.value, "meaning": code.meaning} if code else None


def _layer_facts(model: SegmentationModel) -> dict[str, Any]:
    """The suggested layer, and the largest building blocks that nothing speaks against, from the input to the output."""
    if model.layers_hidden:
        return {"suggested_layer": None, "layers": [], "layers_reason": model.layers_hidden}
    try:
        layers = model_layers(model)
        suggested, why = suggest_layer(layers)
    except EngineError as error:
        return {"suggested_layer": None, "layers": [], "layers_reason": error.sentence}
    blocks = [layer for layer in layers if not layer.reason and layer.is_block and not layer.marks()]
    blocks = [layer for layer in blocks if not any(layer.name.startswith(f"{one.name}.") for one in blocks)]
    aliases: dict[str, str] = getattr(model.network, "layer_aliases", {})
    return {
        "suggested_layer": suggested.name,
        "layers": [
            {
                "name": layer.name,
                "aliases": [alias for alias, name in aliases.items() if name == layer.name],
                "channels": layer.channels,
                "grid": list(layer.grid),
                "mm": list(layer.mm),
            }
            for layer in sorted({suggested, *blocks}, key=lambda layer: layer.order)
        ],
        "layers_reason": why
        if model.window.size and None not in model.window.size
        else f"{why}, in an image of {' x '.join(map(str, nominal_window(model)))} voxels; "
        "another size may suggest another layer",
    }
