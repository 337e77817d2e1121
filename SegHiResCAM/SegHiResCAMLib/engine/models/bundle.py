"""MONAI bundles, as folders or zip archives: configs/inference.json (or .yaml, .yml), configs/metadata.json and models/model.pt.

Beside what MONAI defines, `inference.json` may have one key of ours: "slice_preprocessing", a Compose of array or dictionary
transforms (key "image") for each slice (C, x, y) of a 2D network, applied after "preprocessing". MONAI itself ignores it.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path, PurePosixPath
from typing import Any

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
from SegHiResCAMLib.engine.models.labels import inputs_of, labels_of
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.networks import argument, build_network, required_multiple
from SegHiResCAMLib.engine.models.untrusted.archive import files_in, is_zip, unpacked
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_weights, sha256
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config
from SegHiResCAMLib.engine.models.untrusted.resolver import Component, Config
from SegHiResCAMLib.engine.models.untrusted.script import is_script, read_script

_CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
_WEIGHTS = (".pt", ".pth", ".safetensors")


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
                f"'{folder}' has no configs/inference.json, which describes the network. Ask the sender for the whole bundle.",
            )
        weights = _weights_file(folder, Config(read_config(file), str(file)))
        return described_model(file, folder / "configs" / "metadata.json", weights, path)


def inference_config(folder: Path) -> Path | None:
    """The file in `folder` that describes network and preprocessing, where there is one."""
    return next((folder / name for name in _CONFIGS if (folder / name).is_file()), None)


def described_model(inference: Path, metadata_file: Path, weights: Path, source: str) -> SegmentationModel:
    """The model that a bundle's two descriptions make of a weights file, which may be a TorchScript archive.

    Args:
        inference: `inference.json`, or as YAML.
        metadata_file: `metadata.json`.
        weights: A checkpoint or a TorchScript archive.
        source: What the user gave.

    Raises:
        EngineError: As `open_bundle`.
    """
    config = Config(read_config(inference), str(inference))
    metadata = read_config(metadata_file)
    definition = _network_definition(config)
    scripted = is_script(weights)
    network = (
        read_script(weights)
        if scripted
        else build_network(definition, read_weights(weights), str(inference), str(weights))
    )
    spatial_dims, in_channels, out_channels = (
        _number(definition, name, config) for name in ("spatial_dims", "in_channels", "out_channels")
    )
    if spatial_dims not in (2, 3):
        raise EngineError(
            "bundle-network",
            f"'{inference}' describes a network of {spatial_dims} dimensions, but volumes need one of 2 or 3. Choose another model.",
        )
    activation = activation_of(config, out_channels)
    labels = labels_of(metadata, out_channels, activation, str(metadata_file))
    prepared = bundle_preprocessing(config, spatial_dims)
    if not prepared.is_described:
        warnings.warn(
            f"'{inference}' does not say how volumes are prepared for the network, so it is given them as they are stored. Check with the model's "
            "author which orientation, spacing and intensities it needs.",
            stacklevel=1,
        )
    multiple = math.lcm(input_multiple(metadata), required_multiple(definition, str(inference)))
    dropped = left_out(config, labels)
    if dropped:
        warnings.warn(
            f"The last steps of the postprocessing of '{source}' cannot be taken over ({', '.join(dropped)}), so its outlines may "
            "differ from those that its authors show.",
            stacklevel=1,  # this module: programs pick out what it has to say by its name
        )
    return SegmentationModel(
        name=_text(metadata, "name") or Path(source).resolve().name.removesuffix(".zip"),
        network=network,
        spatial_dims=2 if spatial_dims == 2 else 3,
        in_channels=in_channels,
        inputs=inputs_of(metadata, in_channels),
        labels=labels,
        activation=activation,
        preprocessing=prepared.volume,
        slice_preprocessing=prepared.slices,
        slice_axis=prepared.slice_axis,
        window=window_settings(config, spatial_dims, multiple),
        threshold=threshold_of(config, activation),
        largest_component=keeps_largest_component(config, labels),
        layers_hidden=_hidden(weights) if scripted else "",
        sha256=sha256(weights),
        source=source,
        licence=_text(metadata, "license") or _text(metadata, "licence"),
        description=_text(metadata, "description"),
        metadata={**metadata, "postprocessing_left_out": dropped},
    )


def _hidden(weights: Path) -> str:
    return (
        f"'{weights.name}' is a TorchScript archive, a program that hides its layers: it can segment, but not be explained. Take the file "
        "with the weights alone, 'models/model.pt' of the same bundle."
    )


def _weights_file(folder: Path, config: Config) -> Path:
    """In `models`: the file that the configuration loads, or model.pt, or the only one there. Other folders are never looked into.

    TorchScript archives hide their layers and come last.
    """
    models = folder / "models"
    names = [name for name in (_loaded_name(config), "model.pt") if name]
    files = sorted(models.glob("[!.]*"))
    present = [file for file in files if file.suffix.lower() in _WEIGHTS]
    scripts = [file for file in files if file.suffix.lower() == ".ts"]
    for name in names:
        if (models / name) in present:
            return models / name
    if len(present or scripts) == 1:
        return (present or scripts)[0]
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
