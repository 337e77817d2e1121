"""Plain checkpoints: weights (.pt, .pth, .ckpt, .safetensors, ...) with a small JSON beside them that says what weights cannot say.

`Resources/Schemas/model.schema.json` documents the JSON and checks it; `describe.py` writes a first draft of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.labels import described_background, described_labels
from SegHiResCAMLib.engine.models.licence import licence_beside
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.networks import argument, build_network, network_class, required_multiple
from SegHiResCAMLib.engine.models.nominal_spacing import nominal_spacing
from SegHiResCAMLib.engine.models.plain_preprocessing import preprocessing_of
from SegHiResCAMLib.engine.models.schemas import check, wrong
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_checkpoint, sha256, weights_in
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config
from SegHiResCAMLib.engine.models.untrusted.resolver import ConfigComponent
from SegHiResCAMLib.engine.models.weights_matching import WEIGHTS, has_weights_name, named_tensors
from SegHiResCAMLib.engine.regular_files import is_plain_name
from SegHiResCAMLib.engine.window_settings import WindowSettings


def is_plain_checkpoint(path: Path) -> bool:
    """Whether `path` is a file named as a checkpoint, or as the description of one."""
    return path.is_file() and (has_weights_name(path) or path.suffix.lower() == ".json")


def description_of(checkpoint: Path) -> Path:
    """Where the description of a checkpoint is: beside it, under its name with `.json` for its ending ("model.pth.tar": "model.json")."""
    ending = max((end for end in WEIGHTS if checkpoint.name.lower().endswith(end)), key=len, default=checkpoint.suffix)
    return checkpoint.with_name(f"{checkpoint.name.removesuffix(checkpoint.name[-len(ending) :])}.json")


def open_plain_checkpoint(path: str) -> SegmentationModel:
    """The model in a checkpoint with its description, whichever of the two `path` is.

    Raises:
        EngineError: One of the two is missing or unsound, they do not belong together, or the description is a draft.
    """
    checkpoint, description = _checkpoint_and_description(Path(path))
    content = read_plain_description(description)
    file = str(description)
    network = _network(content)
    spatial_dims, in_channels, out_channels = _sizes(network, file)
    activation = content.get("activation", "sigmoid" if out_channels == 1 else "softmax")
    inputs = tuple(content.get("inputs", ()))
    if inputs and len(inputs) != in_channels:
        raise wrong("model", file, f"names {len(inputs)} in 'inputs', but the network takes {in_channels} channel(s)")
    built, notes = build_network(network, read_checkpoint(checkpoint), file, str(checkpoint))
    preprocessing, slice_preprocessing = preprocessing_of(content, spatial_dims, file)
    return SegmentationModel(
        name=content.get("name", description_of(checkpoint).stem),
        network=built,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        inputs=inputs,
        labels=described_labels(content["labels"], out_channels, activation, file),
        background_channel=described_background(content["labels"]),
        activation=activation,
        preprocessing=preprocessing,
        slice_preprocessing=slice_preprocessing,
        spacing=nominal_spacing(preprocessing, spatial_dims),
        window=_window(content.get("window"), spatial_dims, required_multiple(network, file), file),
        largest_component=content.get("largest_component", False),
        sha256=sha256(checkpoint),
        source=path,
        licence=licence_beside(checkpoint.parent, content.get("licence", "")),
        description=content.get("description", ""),
        weights_file=checkpoint.name,
        notes=notes,
        metadata=content,
    )


def read_plain_description(description: Path) -> dict[str, Any]:
    """The content of a description that is as the schema has it, and finished.

    Raises:
        EngineError: `config-unreadable`, `description-wrong`, `description-draft`.
    """
    content = read_config(description)
    check(content, "model", str(description))
    if content.get("to_do"):
        first, more = content["to_do"][0].rstrip("."), len(content["to_do"]) - 1
        rest = f" and {more} more" if more else ""
        raise EngineError(
            "description-draft",
            f"'{description}' is a draft with open questions: {first}{rest}. Decide what 'to_do' lists, then delete 'to_do'.",
        )
    return content


def _checkpoint_and_description(path: Path) -> tuple[Path, Path]:
    if path.suffix.lower() == ".json":
        named = read_config(path).get("weights")
        beside = [path.with_suffix(suffix) for suffix in WEIGHTS]
        if isinstance(named, str) and is_plain_name(named):
            beside = [path.with_name(named)]
        found = next((file for file in beside if file.is_file()), None)
        if found is None:
            raise EngineError(
                "weights-absent",
                f"There is no '{beside[0].name}' beside '{path}'. Put the checkpoint there, or name it in 'weights'.",
            )
        return found, path
    description = description_of(path)
    if not description.is_file():
        content = read_checkpoint(path)  # what is wrong with the file itself comes first
        if not named_tensors(content):
            weights_in(content, path)
        raise EngineError(
            "description-absent",
            f"'{path}' holds only weights; '{description.name}' beside it must say which network they belong to and how images are prepared. "
            f"'seghirescam describe {path}' writes a first draft.",
        )
    return path, description


def _network(content: dict[str, Any]) -> ConfigComponent:
    return ConfigComponent(content["network"]["class"], content["network"]["arguments"], "network")


def _sizes(network: ConfigComponent, file: str) -> tuple[Literal[2, 3], int, int]:
    """Dimensions, input channels and output channels."""
    network_class(network, file)
    if network.target == "Vanilla_UNet_2d":
        values: list[Any] = [2, _end(network, "encoder_channels", 0), _end(network, "decoder_channels", -1)]
    else:
        values = [argument(network, name) for name in ("spatial_dims", "in_channels", "out_channels")]
    for name, value in zip(("spatial_dims", "in_channels", "out_channels"), values, strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise wrong("model", file, f"gives no '{name}' in 'network.arguments' that is a number above 0")
    dims, in_channels, out_channels = values
    if dims not in (2, 3):
        raise wrong("model", file, f"has {dims} in 'network.arguments.spatial_dims', where 2 or 3 is needed")
    return (2 if dims == 2 else 3), in_channels, out_channels


def _end(network: ConfigComponent, name: str, end: int) -> Any:
    channels = argument(network, name)
    return channels[end] if isinstance(channels, list | tuple) and channels else None


def _window(window: dict[str, Any] | None, spatial_dims: int, multiple: int, file: str) -> WindowSettings:
    if window is None:
        return WindowSettings(size=None, multiple=multiple)
    if len(window["size"]) != spatial_dims:
        raise wrong(
            "model",
            file,
            f"has {len(window['size'])} numbers in 'window.size', but the network works in {spatial_dims} dimensions",
        )
    return WindowSettings(
        size=tuple(window["size"]),
        overlap=window.get("overlap", 0.25),
        blending=window.get("blending", "gaussian"),
        multiple=multiple,
    )
