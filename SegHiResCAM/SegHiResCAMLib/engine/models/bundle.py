"""MONAI bundle folders: configs/inference.json (or .yaml, .yml), configs/metadata.json and models/model.pt.

Beside what MONAI defines, `inference.json` may have one key of ours: "slice_preprocessing", a Compose of array or dictionary
transforms (key "image") for each slice (C, x, y) of a 2D network, applied after "preprocessing". MONAI itself ignores it.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath
from typing import Any

from monai.transforms import Compose

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.checkpoint import read_weights, sha256
from SegHiResCAMLib.engine.models.config_file import read_config
from SegHiResCAMLib.engine.models.inference import (
    activation_of,
    input_multiple,
    is_sliced,
    keeps_largest_component,
    left_out,
    window_settings,
)
from SegHiResCAMLib.engine.models.labels import labels_of
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.networks import argument, build_network, required_multiple
from SegHiResCAMLib.engine.models.resolver import Component, Config
from SegHiResCAMLib.engine.models.transforms import build_preprocessing, build_slice_preprocessing, is_for_volumes

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
_WEIGHTS = (".pt", ".pth", ".safetensors")


def is_bundle(path: Path) -> bool:
    """Whether `path` is a folder laid out as a MONAI bundle."""
    return (path / "configs").is_dir()


def open_bundle(path: str) -> SegmentationModel:
    """The model in the bundle folder `path`.

    Raises:
        EngineError: A file is missing or unsound, or the bundle asks for what only running its code would give.
    """
    folder = Path(path)
    file = _inference_config(folder)
    config = Config(read_config(file), str(file))
    metadata_file = folder / "configs" / "metadata.json"
    metadata = read_config(metadata_file)
    weights_file = _weights_file(folder, config)

    definition = _network_definition(config)
    network = build_network(definition, read_weights(weights_file), str(file), str(weights_file))
    spatial_dims, in_channels, out_channels = (
        _number(definition, name, config) for name in ("spatial_dims", "in_channels", "out_channels")
    )
    if spatial_dims not in (2, 3):
        raise EngineError(
            "bundle-network",
            f"'{file}' describes a network of {spatial_dims} dimensions, but volumes need one of 2 or 3. Choose another model.",
        )
    activation = activation_of(config, out_channels)
    labels = labels_of(metadata, out_channels, activation, str(metadata_file))
    preprocessing, slice_preprocessing = _preprocessing(config, spatial_dims)
    return SegmentationModel(
        name=_text(metadata, "name") or folder.resolve().name,
        network=network,
        spatial_dims=2 if spatial_dims == 2 else 3,
        in_channels=in_channels,
        labels=labels,
        activation=activation,
        preprocessing=preprocessing,
        slice_preprocessing=slice_preprocessing,
        window=window_settings(
            config, spatial_dims, math.lcm(input_multiple(metadata), required_multiple(definition, str(file)))
        ),
        largest_component=keeps_largest_component(config, labels),
        sha256=sha256(weights_file),
        source=path,
        licence=_text(metadata, "license") or _text(metadata, "licence"),
        description=_text(metadata, "description"),
        metadata={**metadata, "postprocessing_left_out": left_out(config, labels)},
    )


def _inference_config(folder: Path) -> Path:
    for name in _CONFIGS:
        if (folder / "configs" / name).is_file():
            return folder / "configs" / name
    raise EngineError(
        "bundle-incomplete",
        f"'{folder}' has no configs/inference.json, which describes the network. Ask the sender for the whole bundle.",
    )


def _weights_file(folder: Path, config: Config) -> Path:
    """In `models`: the file that the configuration loads, or model.pt, or the only one there. Other folders are never looked into."""
    models = folder / "models"
    names = [name for name in (_loaded_name(config), "model.pt") if name]
    present = sorted(file for file in models.glob("[!.]*") if file.suffix.lower() in _WEIGHTS)
    for name in names:
        if (models / name) in present:
            return models / name
    if len(present) == 1:
        return present[0]
    found = f"but {', '.join(file.name for file in present[:5])}" if present else "and no other weights"
    raise EngineError(
        "bundle-incomplete", f"'{models}' has no {names[0]} {found}. Put the model's weights there as 'model.pt'."
    )


def _loaded_name(config: Config) -> str:
    """The file name in the checkpoint loader's path, where that is known without running code."""
    path = config.resolve("checkpointloader::load_path")
    return PurePosixPath(path).name if isinstance(path, str) else ""


def _network_definition(config: Config) -> Component:
    """`network_def`, which MONAI's bundles move to the device as `network`; or `network`, where it is the definition itself."""
    key = next((key for key in ("network_def", "network") if key in config), None)
    if key is None:
        raise EngineError(
            "bundle-network",
            f"'{config.file}' has neither 'network_def' nor 'network'. Ask the sender which network the weights belong to.",
        )
    definition = config.need(config.resolve(key))
    if not isinstance(definition, Component):
        raise EngineError(
            "bundle-network",
            f"'{config.file}' names no class in '{key}'. Ask the sender which network the weights belong to.",
        )
    return definition


def _preprocessing(config: Config, spatial_dims: int) -> tuple[Compose, Any]:
    """What is done to the volume and to each slice.

    Bundles for single 2D pictures prepare each by itself; on a volume that is the preprocessing of a slice.
    """
    slices = build_slice_preprocessing(config, "slice_preprocessing") if "slice_preprocessing" in config else None
    if "preprocessing" not in config:
        return Compose([]), slices
    pictures = (
        spatial_dims == 2 and slices is None and not is_sliced(config) and not is_for_volumes(config, "preprocessing")
    )
    if pictures:
        return Compose([]), build_slice_preprocessing(config, "preprocessing")
    return build_preprocessing(config, "preprocessing"), slices


def _number(definition: Component, name: str, config: Config) -> int:
    value = argument(definition, name)
    if not isinstance(value, int) or value < 1:
        raise EngineError(
            "bundle-network",
            f"'{config.file}' does not say '{name}' of the network at '{definition.where}'. Ask the sender for the whole bundle.",
        )
    return value


def _text(metadata: dict[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value.strip() if isinstance(value, str) else ""
