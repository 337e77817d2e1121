"""Auto3DSeg SegResNet models: a checkpoint `model.pt` with `config` and `state_dict`, alone, in a folder, or in a zip archive.

Such zip archives, with labels.csv beside the checkpoint, are what MONAI Auto3DSeg for 3D Slicer downloads.
"""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.auto3dseg.crop_and_scale import auto3dseg_preprocessing
from SegHiResCAMLib.engine.models.auto3dseg.label_table import auto3dseg_labels
from SegHiResCAMLib.engine.models.auto3dseg.training_config import Auto3DSegConfig, read_auto3dseg_config
from SegHiResCAMLib.engine.models.bundle_inferer import window_settings
from SegHiResCAMLib.engine.models.labels import unlabelled_channel
from SegHiResCAMLib.engine.models.licence import licence_beside
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.networks import argument, build_network, required_multiple
from SegHiResCAMLib.engine.models.nominal_spacing import nominal_spacing
from SegHiResCAMLib.engine.models.untrusted.archive import files_in, is_zip, unpacked
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_checkpoint, sha256
from SegHiResCAMLib.engine.models.untrusted.resolver import Config, ConfigComponent
from SegHiResCAMLib.engine.window_settings import WindowSettings

_CHECKPOINT = "model.pt"
_LABELS = "labels.csv"
_MARKS = (b"state_dict", b"normalize_mode", b"roi_size", b"network")
_PEEK = 16 << 20


def is_auto3dseg(path: Path) -> bool:
    """Whether `path` is an Auto3DSeg checkpoint, a folder with one (`model.pt` in it, or in `model`), or a zip archive with its labels."""
    if path.is_dir():
        return _checkpoint_in(path) is not None
    if not is_zip(path):
        return False
    if _is_checkpoint(path):
        return True
    try:
        names = [PurePosixPath(file) for file in files_in(str(path))]
    except EngineError:
        return False
    return any(file.name == _CHECKPOINT and file.with_name(_LABELS) in names for file in names)


def open_auto3dseg(source: str) -> SegmentationModel:
    """The model at `source`, as `is_auto3dseg` recognises it.

    Raises:
        EngineError: `auto3dseg-…`, or as `read_checkpoint`, `build_network` and `unpacked`.
    """
    path = Path(source)
    if path.is_file() and _is_checkpoint(path):
        return _opened(source, path)
    with unpacked(source) as folder:
        file = _checkpoint_in(folder)
        if file is None:
            raise EngineError(
                "auto3dseg-incomplete",
                f"'{folder}' has no {_CHECKPOINT} that Auto3DSeg's SegResNet wrote. Ask the model's author for the model's own zip archive.",
            )
        return _opened(source, file)


def _checkpoint_in(folder: Path) -> Path | None:
    beside_labels = [file.with_name(_CHECKPOINT) for file in sorted(folder.glob(f"*/{_LABELS}"))[:20]]
    candidates = (folder / _CHECKPOINT, folder / "model" / _CHECKPOINT, *beside_labels)
    return next((file for file in candidates if file.is_file() and _is_checkpoint(file)), None)


def _is_checkpoint(file: Path) -> bool:
    """Whether the names in a checkpoint's pickle are Auto3DSeg's; it is not unpickled for that."""
    try:
        with zipfile.ZipFile(file) as archive:
            entry = next((one for one in archive.infolist() if one.filename.endswith("/data.pkl")), None)
            if entry is None:
                return False
            with archive.open(entry) as pickled:
                start = pickled.read(_PEEK)
    except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, EOFError):
        return False
    return all(mark in start for mark in _MARKS)


def _opened(source: str, file: Path) -> SegmentationModel:
    content = _content(file)
    name = str(file)
    config = read_auto3dseg_config(content["config"], name)
    described = Config({"network": config.network, "inferer": config.inferer or {}}, name)
    definition = _definition(described)
    network, notes = build_network(definition, {"state_dict": content["state_dict"]}, name, name)
    spatial_dims, in_channels, out_channels = (
        argument(definition, key) for key in ("spatial_dims", "in_channels", "out_channels")
    )
    if spatial_dims != 3 or in_channels < len(config.modes):
        raise EngineError(
            "auto3dseg-network",
            f"'{name}' holds a network of {spatial_dims} dimensions for {in_channels} image(s), while its config has {len(config.modes)}; only "
            "networks of 3 dimensions that fit their config can be opened. Ask the model's author for the undamaged model.",
        )
    labels_file = file.with_name(_LABELS)
    labels = auto3dseg_labels(config, out_channels, labels_file if labels_file.is_file() else None, name)
    preprocessing = auto3dseg_preprocessing(config)
    metadata: dict[str, Any] = {
        "format": "Auto3DSeg SegResNet",
        "epoch": content.get("epoch") if isinstance(content.get("epoch"), int) else None,
    }
    return SegmentationModel(
        name=_name(source),
        network=network,
        spatial_dims=3,
        in_channels=in_channels,
        inputs=_inputs(config, in_channels),
        labels=labels,
        background_channel=unlabelled_channel(labels, out_channels),
        activation="sigmoid" if config.sigmoid else "softmax",
        preprocessing=preprocessing,
        spacing=nominal_spacing(preprocessing, 3),
        window=_window(config, described, required_multiple(definition, name)),
        sha256=sha256(file),
        source=source,
        description=f"Auto3DSeg {definition.name}.",
        licence=licence_beside(file.parent),
        weights_file=file.name,
        notes=notes,
        metadata=metadata,
    )


def _content(file: Path) -> dict[str, Any]:
    try:
        content = read_checkpoint(file)
    except EngineError as error:
        if error.code != "weights-code":
            raise
        what, _, _ = error.message.partition(" Nothing was run;")
        message = f"{what} Nothing was run; ask the model's author to save it again with torch.save, with only plain values in 'config'."
        raise EngineError(error.code, message) from error
    parts = [content.get(key) if isinstance(content, dict) else None for key in ("config", "state_dict")]
    if not all(isinstance(part, dict) for part in parts):
        raise EngineError(
            "auto3dseg-incomplete",
            f"'{file}' is not a checkpoint of Auto3DSeg's SegResNet: it lacks 'config' or 'state_dict'. Ask the model's author for the {_CHECKPOINT} that "
            "the training wrote.",
        )
    return dict(content)


def _definition(config: Config) -> ConfigComponent:
    definition = config.need(config.resolve("network"))
    if not isinstance(definition, ConfigComponent):
        raise EngineError(
            "auto3dseg-config",
            f"The config in '{config.file}' does not name the network's class. Ask the model's author for the file as Auto3DSeg wrote it.",
        )
    return definition


def _window(config: Auto3DSegConfig, described: Config, multiple: int) -> WindowSettings:
    """The config's own inferer, or that of the template."""
    if config.inferer:
        return window_settings(described, 3, multiple)
    return WindowSettings(size=config.window, overlap=0.625, blending="gaussian", multiple=multiple)


def _inputs(config: Auto3DSegConfig, channels: int) -> tuple[str, ...]:
    main, *extra = config.modes
    own = channels - len(extra)
    return (*((f"{main} {number + 1}" for number in range(own)) if own > 1 else (main,)), *extra)


def _name(source: str) -> str:
    """Of the zip archive, the folder, or the checkpoint's folder."""
    path = Path(source).resolve()
    return path.parent.name if path.name == _CHECKPOINT else path.name if path.is_dir() else path.stem
