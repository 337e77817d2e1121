"""All that there is to know of a model before it is used, and of its layers, as records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from SegHiResCAMLib.engine.answer.model_layers import model_layers
from SegHiResCAMLib.engine.answer.preparation import intensities_of, orientation_of
from SegHiResCAMLib.engine.cam.layers import Layer, suggest_layer
from SegHiResCAMLib.engine.inference.fitting import nominal_window
from SegHiResCAMLib.engine.models import FORMATS, SegmentationModel
from SegHiResCAMLib.records.models import LayerList, LayerSummary, ModelSummary


def summary_of(model: SegmentationModel) -> ModelSummary:
    """Format, network, inputs, labels, spacing, windows, licence and SHA-256 of a model."""
    window = model.window
    overlap = window.overlap if isinstance(window.overlap, tuple) else (window.overlap,)
    return ModelSummary(
        name=model.name,
        description=model.description,
        source=model.source,
        format=next((_kind(name) for name, recognises, _ in FORMATS if recognises(Path(model.source))), ""),
        network=model.architecture or type(model.network).__name__,
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        spatial_dims=model.spatial_dims,
        in_channels=model.in_channels,
        inputs=tuple(model.inputs),
        activation=model.activation,
        labels=tuple(model.labels),
        has_background=model.background is not None,
        orientation=orientation_of(model),
        spacing_mm=model.spacing or (),
        preprocessing=tuple(type(step).__name__ for step in model.preprocessing.transforms),
        intensities=tuple(intensities_of(model)),
        window=window.size or (),
        overlap=overlap if window.size else (),
        multiple=window.multiple,
        largest_component=model.largest_component,
        layers_hidden=model.layers_hidden,
        licence=model.licence,
        sha256=model.sha256,
        weights_file=model.weights_file,
        notes=tuple(model.notes),
    )


def _kind(name: str) -> str:
    """What a format is called, without the files that it may consist of: "MONAI bundle"."""
    return re.sub(r"(, folder or zip)? \([^)]*\)", "", name)


def layers_of(model: SegmentationModel, layers: Sequence[Layer], extent_mm: float | None = None) -> LayerList:
    """The layers of a model, and the one to begin with.

    Args:
        model: The model.
        layers: Its layers, from `model_layers` or `volume_layers`.
        extent_mm: Size of the segment to be explained, where one is known; layers with a coarser grid get a caveat.

    Raises:
        EngineError: `layer-none`, when no layer can be explained.
    """
    suggested, reason = suggest_layer(list(layers))
    aliases: dict[str, str] = getattr(model.network, "layer_aliases", {})
    listed = tuple(
        _summary(layer, extent_mm, tuple(alias for alias, name in aliases.items() if name == layer.name))
        for layer in layers
    )
    return LayerList(listed, suggested.name, reason)


def nominal_layers(model: SegmentationModel, extent_mm: float | None = None) -> LayerList:
    """As `layers_of`, for an image of nominal size where the model has no window of its own.

    Raises:
        EngineError: `layer-none`, and as `model_layers`.
    """
    listed = layers_of(model, model_layers(model), extent_mm)
    if model.window.size is not None and None not in model.window.size:
        return listed
    size = " x ".join(map(str, nominal_window(model)))
    why = f"{listed.reason}, in an image of {size} voxels; another size may suggest another layer"
    return replace(listed, reason=why)


def _summary(layer: Layer, extent_mm: float | None, aliases: tuple[str, ...]) -> LayerSummary:
    return LayerSummary(
        name=layer.name,
        kind=layer.kind,
        channels=layer.channels,
        grid=layer.grid,
        mm=layer.mm,
        receptive_field=layer.receptive_field,
        receptive_field_mm=layer.receptive_field_mm,
        is_block=layer.is_block,
        reason=layer.reason,
        caveats=layer.caveats(extent_mm),
        aliases=aliases,
        order=layer.order,
    )
