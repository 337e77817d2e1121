"""nnU-Net v2's results: a folder with plans.json, dataset.json and fold_*/checkpoint_final.pth, or a zip archive of it.

The folder gives the mean of all its folds; a `fold_0` in it, or a checkpoint file, gives that one alone. Nothing but what nnU-Net's own
programs write is understood, and none of them is needed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.licence import licence_beside
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.nnunet.crop_and_resample import nnunet_preprocessing, nominal_spacing
from SegHiResCAMLib.engine.models.nnunet.dataset import Dataset, read_dataset
from SegHiResCAMLib.engine.models.nnunet.even_windows import EVEN_STEPS
from SegHiResCAMLib.engine.models.nnunet.plans import Plans, read_plans
from SegHiResCAMLib.engine.models.nnunet.unets import FoldEnsemble, build_unet, once
from SegHiResCAMLib.engine.models.untrusted.archive import files_in, is_zip, unpacked
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_checkpoint, sha256, weights_in
from SegHiResCAMLib.engine.window_settings import WindowSettings

_PLANS = "plans.json"
_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
_FOLD = re.compile(r"fold_(?:\d{1,3}|all)")


def is_nnunet(path: Path) -> bool:
    """Whether `path` is what nnU-Net v2 leaves of a training, a fold or a checkpoint of it, or a zip archive with that."""
    if path.is_dir():
        return _is_fold(path) or bool(_results_in(path))
    if path.suffix == ".pth":
        return _is_fold(path.parent)
    try:
        return is_zip(path) and any(PurePosixPath(file).name == _PLANS for file in files_in(str(path)))
    except EngineError:
        return False


def open_nnunet(source: str) -> SegmentationModel:
    """The model in nnU-Net results.

    Args:
        source: The folder with plans.json, or one above it that holds a single such folder, or a zip archive of either: the mean of its folds;
            a fold's folder or checkpoint: that fold.

    Raises:
        EngineError: `nnunet-…`: something is missing, unsound, or of a kind that is not supported (cascades, networks of one's own); or as
            `read_checkpoint` and `unpacked`.
    """
    path = Path(source)
    if path.suffix == ".pth":
        return _opened(source, path.parent / "..", [path])
    if path.is_dir() and _is_fold(path):
        return _opened(source, path / "..", [_checkpoint(path)])
    with unpacked(source) as folder:
        results = _only(_results_in(folder), folder)
        return _opened(source, results, _checkpoints(results))


def _is_fold(path: Path) -> bool:
    return bool(_FOLD.fullmatch(path.resolve().name)) and (path / ".." / _PLANS).is_file()


def _results_in(folder: Path) -> list[Path]:
    """The folders of trained models: this one, or those in it or in a data set's folder in it."""
    if (folder / _PLANS).is_file():
        return [folder]
    return sorted(
        file.parent for pattern in (f"*__*/{_PLANS}", f"Dataset*/*__*/{_PLANS}") for file in folder.glob(pattern)
    )


def _only(results: list[Path], folder: Path) -> Path:
    if len(results) == 1:
        return results[0]
    if not results:
        raise EngineError(
            "nnunet-incomplete",
            f"'{folder}' does not have {_PLANS} where nnU-Net puts it. Give the folder that holds {_PLANS}, dataset.json and the folds.",
        )
    names = ", ".join(f"'{one.relative_to(folder)}'" for one in results[:8])
    raise EngineError(
        "nnunet-several", f"'{folder}' holds {len(results)} trained models: {names}. Give one of these folders."
    )


def _checkpoint(fold: Path) -> Path:
    for name in _CHECKPOINTS:
        if (fold / name).is_file():
            return fold / name
    raise EngineError(
        "nnunet-incomplete",
        f"'{fold}' has no {_CHECKPOINTS[0]}. Ask the model's author for the weights of this fold, or give another fold.",
    )


def _checkpoints(results: Path) -> list[Path]:
    """Of every fold that has the final one; of `fold_all` only where there is no other, as nnU-Net does it."""
    folds = [one for one in results.iterdir() if one.is_dir() and _FOLD.fullmatch(one.name)]
    folds.sort(key=lambda fold: (fold.name == "fold_all", len(fold.name), fold.name))
    for name in _CHECKPOINTS:
        found = [fold / name for fold in folds if (fold / name).is_file()]
        if found:
            return [file for file in found if file.parent.name != "fold_all"] or found
    raise EngineError(
        "nnunet-incomplete",
        f"'{results}' has no fold with weights (fold_0/{_CHECKPOINTS[0]}). Ask the model's author for the folds that were trained.",
    )


def _opened(source: str, results: Path, checkpoints: list[Path]) -> SegmentationModel:
    dataset = read_dataset(results / "dataset.json")
    plans: Plans | None = None
    folds: dict[str, torch.nn.Module] = {}
    for file in checkpoints:
        content = _content(file)
        configuration = _configuration(content, file)
        if plans is None:
            plans = read_plans(results / _PLANS, configuration, len(dataset.channels))
        elif configuration != plans.configuration:
            raise EngineError(
                "nnunet-incomplete",
                f"'{file}' was trained as '{configuration}', '{checkpoints[0]}' as '{plans.configuration}'. Give one of the folds.",
            )
        with _trainer_named(content):
            folds[file.resolve().parent.name] = build_unet(
                plans.architecture,
                len(dataset.channels),
                dataset.out_channels,
                weights_in({"network_weights": once(content["network_weights"], str(file))}, file),
                str(results / _PLANS),
                str(file),
            )
    assert plans is not None  # there is at least one checkpoint
    return _model(source, results, plans, dataset, folds, checkpoints)


def _model(
    source: str,
    results: Path,
    plans: Plans,
    dataset: Dataset,
    folds: dict[str, torch.nn.Module],
    checkpoints: list[Path],
) -> SegmentationModel:
    network = next(iter(folds.values())) if len(folds) == 1 else FoldEnsemble(folds).eval()
    which = next(iter(folds)).replace("_", " ") if len(folds) == 1 else f"mean of {len(folds)} folds"
    return SegmentationModel(
        name=f"{plans.name or Path(source).resolve().name} {plans.configuration} ({which})",
        network=network,
        spatial_dims=plans.dims,
        in_channels=len(dataset.channels),
        inputs=dataset.channels,
        labels=dataset.labels,
        activation=dataset.activation,
        painted=dataset.activation == "sigmoid",
        preprocessing=nnunet_preprocessing(plans),
        window=WindowSettings(size=plans.window, overlap=0.5, blending="gaussian", scheme=EVEN_STEPS),
        slice_axis=0 if plans.dims == 2 else None,
        spacing=nominal_spacing(plans),
        architecture=plans.architecture.name if len(folds) == 1 else f"mean of {len(folds)} {plans.architecture.name}",
        sha256=_sha256(checkpoints),
        source=source,
        licence=licence_beside(results, dataset.licence),
        weights_file=", ".join(f"{one.resolve().parent.name}/{one.name}" for one in checkpoints),
        description=f"{dataset.description} nnU-Net, without the mirrored predictions that nnU-Net may add.".strip(),
        metadata={
            "format": "nnU-Net v2",
            "configuration": plans.configuration,
            "folds": dict(zip(folds, (file.name for file in checkpoints), strict=True)),
            "postprocessing_left_out": ["mirroring"],
        },
    )


def _content(file: Path) -> dict[str, Any]:
    """A checkpoint, as nnU-Net's trainers write it."""
    try:
        content = read_checkpoint(file)
    except EngineError as error:
        if error.code != "weights-code":
            raise
        wanted = re.search(r"would run '([^']*)'", error.message)
        raise EngineError(
            "weights-code",
            f"'{file}' holds more than nnU-Net writes: opening it would run '{wanted[1] if wanted else '?'}'. Nothing was run; ask the model's author "
            "for the file as nnU-Net's own trainer wrote it, or to save from it, with torch.save, only 'network_weights', 'trainer_name' and "
            "'init_args' with its 'configuration'.",
        ) from error
    weights = content.get("network_weights") if isinstance(content, dict) else None
    named = isinstance(weights, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) and _is_plain(tensor)
        for name, tensor in weights.items()
    )
    if not named or not weights:
        raise EngineError(
            "nnunet-incomplete",
            f"'{file}' is not a checkpoint of nnU-Net v2: it has no 'network_weights' with plain tensors by name. Ask the model's author for {_CHECKPOINTS[0]} as nnU-Net wrote it.",
        )
    return dict(content)


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized


def _configuration(content: dict[str, Any], file: Path) -> str:
    arguments = content.get("init_args")
    name = arguments.get("configuration") if isinstance(arguments, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[\w.\- ]{1,100}", name):
        raise EngineError(
            "nnunet-incomplete",
            f"'{file}' does not say which configuration of the plans it was trained with ('init_args', 'configuration'). Ask the model's author for "
            "the file as nnU-Net wrote it.",
        )
    return name


@contextmanager
def _trainer_named(content: dict[str, Any]) -> Iterator[None]:
    """Weights that do not fit the plans may be those of a trainer that builds a network of its own."""
    try:
        yield
    except EngineError as error:
        trainer = content.get("trainer_name")
        if error.code != "weights-mismatch" or not isinstance(trainer, str) or trainer == "nnUNetTrainer":
            raise
        message = (
            f"{error.message} They come from '{trainer[:80]}', which may build another network than plans.json says."
        )
        raise EngineError(error.code, message) from error


def _sha256(checkpoints: list[Path]) -> str:
    """Of the file; of several, of their hashes in a row."""
    hashes = [sha256(file) for file in checkpoints]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
