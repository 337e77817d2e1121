"""MONAI bundles, as folders or zip archives: configs/inference.json (or .yaml, .yml), configs/metadata.json and models/model.pt.

Beside what MONAI defines, `inference.json` may have one key of ours: "slice_preprocessing", a Compose of array or dictionary
transforms (key "image") for each slice (C, x, y) of a 2D network, applied after "preprocessing". MONAI itself ignores it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.bundle_inferer import (
    activation_of,
    input_multiple,
    keeps_largest_component,
    left_out,
    threshold_of,
    window_settings,
)
from SegHiResCAMLib.engine.models.bundle_preprocessing import bundle_preprocessing
from SegHiResCAMLib.engine.models.bundle_weights import BundleWeights, find_weights, has_only_scripts
from SegHiResCAMLib.engine.models.clicks import click_channels, without_clicks
from SegHiResCAMLib.engine.models.labels import inputs_of, labels_of, unlabelled_channel
from SegHiResCAMLib.engine.models.licence import licence_beside
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.networks import (
    argument,
    build_network,
    network_class,
    network_not_supported,
    required_multiple,
)
from SegHiResCAMLib.engine.models.nominal_spacing import nominal_spacing
from SegHiResCAMLib.engine.models.untrusted.archive import files_in, is_zip, unpacked
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_checkpoint, sha256
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config
from SegHiResCAMLib.engine.models.untrusted.resolver import Config, ConfigComponent, Unsupported
from SegHiResCAMLib.engine.models.untrusted.script import is_script, read_script

_NETWORK_KEYS = ("network_def", "network", "net_def", "net", "model_def", "model")
_LABEL_KEYS = ("label_names", "labels", "class_names", "label_def", "channel_def")
_CALL = re.compile(r"\$\s*([A-Za-z_][\w.]*)\(")

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")


def is_bundle(path: Path) -> bool:
    """Whether `path` is laid out as a MONAI bundle: a folder, or a zip archive of one."""
    if path.is_dir():
        return (path / "configs").is_dir()
    try:
        return is_zip(path) and any(name.startswith("configs/") for name in files_in(str(path)))
    except EngineError:
        return False


def open_bundle(path: str) -> SegmentationModel:
    """The model in the bundle `path`, a folder or a zip archive.

    Raises:
        EngineError: A file is missing or unsound, or the bundle asks for what only running its code would give.
    """
    with unpacked(path) as folder:
        file = inference_config(folder / "configs")
        if file is None:
            raise EngineError(
                "bundle-incomplete",
                f"'{folder}' has no configs/inference.json, which describes the network. Ask the model's author for the whole bundle.",
            )
        config = Config(read_config(file), str(file))
        if not has_only_scripts(folder / "models"):
            network_class(_network_definition(config), str(file))  # comes first: nothing else would help
        weights = find_weights(folder / "models", config)
        model = described_model(file, folder / "configs" / "metadata.json", weights, path)
        return replace(model, licence=licence_beside(folder, model.licence))


def inference_config(folder: Path) -> Path | None:
    """The file in `folder` that describes network and preprocessing, where there is one."""
    return next((folder / name for name in _CONFIGS if (folder / name).is_file()), None)


def described_model(inference: Path, metadata_file: Path, found: BundleWeights, source: str) -> SegmentationModel:
    """The model that a bundle's two descriptions make of a weights file, which may be a TorchScript archive.

    Args:
        inference: `inference.json`, or as YAML.
        metadata_file: `metadata.json`.
        found: A checkpoint or a TorchScript archive.
        source: What the user gave.

    Raises:
        EngineError: As `open_bundle`.
    """
    config = Config(read_config(inference), str(inference))
    metadata = read_config(metadata_file)
    definition, weights = _network_definition(config), found.file
    network, notes = _built(definition, config, found)
    spatial_dims, in_channels, out_channels = _sizes(definition, config)
    clicks = click_channels(config, "preprocessing", in_channels)
    if clicks:
        without_clicks(network, clicks)
        notes += (_clicks_note(clicks, in_channels),)
    in_channels -= clicks
    activation = activation_of(config, out_channels)
    labels = labels_of(metadata, out_channels, activation, str(metadata_file), _labels_in(config))
    prepared = bundle_preprocessing(config, spatial_dims)
    if not prepared.is_described:
        notes += (_preparation_note(inference),)
    multiple = math.lcm(input_multiple(metadata), required_multiple(definition, str(inference)))
    dropped = left_out(config, labels)
    if dropped:
        notes += (_left_out_note(inference, dropped),)
    return SegmentationModel(
        name=_text(metadata, "name") or Path(source).resolve().name.removesuffix(".zip"),
        network=network,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        inputs=inputs_of(metadata, in_channels),
        labels=labels,
        background_channel=unlabelled_channel(labels, out_channels),
        activation=activation,
        preprocessing=prepared.volume,
        slice_preprocessing=prepared.slices,
        slice_axis=prepared.slice_axis,
        spacing=nominal_spacing(prepared.volume, spatial_dims),
        window=window_settings(config, spatial_dims, multiple),
        threshold=threshold_of(config, activation),
        largest_component=keeps_largest_component(config, labels),
        layers_hidden=_hidden(weights) if is_script(weights) else "",
        sha256=sha256(weights),
        source=source,
        licence=_text(metadata, "license") or _text(metadata, "licence"),
        description=_text(metadata, "description"),
        notes=notes,
        weights_file=weights.name,
        metadata={**metadata, "postprocessing_left_out": dropped},
    )


def _built(
    definition: ConfigComponent, config: Config, found: BundleWeights
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The network with its weights, and what was decided about them."""
    if is_script(found.file):
        return read_script(found.file), ()
    network_class(definition, config.file)
    config.need(definition)
    return build_network(definition, read_checkpoint(found.file), config.file, str(found.file), found.key)


def _sizes(definition: ConfigComponent, config: Config) -> tuple[Literal[2, 3], int, int]:
    """Spatial dimensions, channels in and channels out of the network."""
    spatial_dims, in_channels, out_channels = (
        _number(definition, name, config) for name in ("spatial_dims", "in_channels", "out_channels")
    )
    if spatial_dims not in (2, 3):
        raise EngineError(
            "bundle-network",
            f"'{config.file}' describes a network of {spatial_dims} dimensions, but volumes need one of 2 or 3. Choose another model.",
        )
    return 2 if spatial_dims == 2 else 3, in_channels, out_channels


def _clicks_note(clicks: int, in_channels: int) -> str:
    return (
        f"The network also takes clicks ({clicks} of its {in_channels} input channels). It is used without any: these channels hold zeros, so "
        "segments and heat maps may differ from those that clicks would give."
    )


def _preparation_note(inference: Path) -> str:
    return (
        f"'{inference}' does not say how volumes are prepared for the network, so it is given them as they are stored. Check with the "
        "model's author which orientation, spacing and intensities it needs."
    )


def _left_out_note(inference: Path, dropped: Sequence[str]) -> str:
    return (
        f"Steps of the postprocessing in '{inference}' are not applied ({', '.join(dropped)[:300]}), so segments may differ from those of "
        "the model's authors."
    )


def _hidden(weights: Path) -> str:
    return (
        f"'{weights.name}' is a TorchScript archive, a program that hides its layers: it can segment, but not be explained. Use the file "
        "with the weights alone, 'models/model.pt' of the same bundle."
    )


def _network_definition(config: Config) -> ConfigComponent:
    """The component that describes the network: `network_def`, which MONAI's bundles move to the device as `network`, or another name.

    Raises:
        EngineError: `bundle-network`, where there is none, or it is not one of the networks that can be opened.
    """
    key = next((key for key in _NETWORK_KEYS if key in config), None)
    if key is None:
        others = (config.resolve(name) for name in config.content if name.endswith(("_def", "_network", "net")))
        other = next((one for one in others if isinstance(one, ConfigComponent)), None)
        if other is not None:
            raise network_not_supported(other.target, other.where, config.file)
        raise EngineError(
            "bundle-network",
            f"'{config.file}' has neither 'network_def' nor 'network', so the network that the weights belong to is not known. Ask the model's "
            "author for the configuration with the network, or describe the weights by themselves: 'seghirescam describe'.",
        )
    definition = config.resolve(key)
    called = _CALL.match(definition.text) if isinstance(definition, Unsupported) else None
    if called:
        network_class(ConfigComponent(called.group(1), {}, key), config.file)
        raise EngineError(
            "bundle-expression",
            f"'{config.file}' builds the network in '{key}' by the expression '{definition.text[:120]}', and nothing in a model's files is ever "
            f"run. Write it as a '_target_', '{called.group(1)}', with its arguments beside it, as MONAI's bundles do.",
        )
    if not isinstance(definition, ConfigComponent):
        config.need(definition)
        raise EngineError(
            "bundle-network",
            f"'{config.file}' does not name a class in '{key}', so the network that the weights belong to is not known. Ask the model's author which "
            "class it is, and with which arguments.",
        )
    return definition


def _labels_in(config: Config) -> list[Any]:
    """What the configuration itself says about labels, which is for its own expressions: names to values."""
    return [config.resolve(key) for key in _LABEL_KEYS if key in config]


def _number(definition: ConfigComponent, name: str, config: Config) -> int:
    value = argument(definition, name)
    if not isinstance(value, int) or value < 1:
        raise EngineError(
            "bundle-network",
            f"'{config.file}' does not say '{name}' of the network at '{definition.where}'. Ask the model's author for the whole bundle.",
        )
    return value


def _text(metadata: dict[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value.strip() if isinstance(value, str) else ""
