"""Whatever file or folder the user has: finds its format and opens it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.auto3dseg.auto3dseg import is_auto3dseg, open_auto3dseg
from SegHiResCAMLib.engine.models.bundle import is_bundle, open_bundle
from SegHiResCAMLib.engine.models.catalogue.catalogue import check_weights, present
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.nnunet.nnunet import is_nnunet, open_nnunet
from SegHiResCAMLib.engine.models.plain import is_plain_checkpoint, open_plain_checkpoint
from SegHiResCAMLib.engine.models.torchscript import is_torchscript, open_torchscript
from SegHiResCAMLib.engine.models.untrusted.archive import files_in, is_zip

# Name for people, what recognises it, what opens it; the first that recognises a path opens it.
FORMATS: tuple[tuple[str, Callable[[Path], bool], Callable[[str], SegmentationModel]], ...] = (
    ("Auto3DSeg SegResNet checkpoint, folder or zip (model.pt, labels.csv)", is_auto3dseg, open_auto3dseg),
    (
        "MONAI bundle, folder or zip (configs/inference.json, configs/metadata.json, models/model.pt)",
        is_bundle,
        open_bundle,
    ),
    ("nnU-Net v2 results, folder or zip (plans.json, dataset.json, fold_*)", is_nnunet, open_nnunet),
    ("TorchScript archive with a bundle's description", is_torchscript, open_torchscript),
    (
        "checkpoint (.pt, .pth, .ckpt, .bin, .safetensors) with a description (.json) beside it",
        is_plain_checkpoint,
        open_plain_checkpoint,
    ),
)


def open_model(path: str | os.PathLike[str]) -> SegmentationModel:
    """Open a segmentation model. Nothing in the file is run.

    Args:
        path: A file or folder in one of `FORMATS`, or the name of a model of the catalogue.

    Raises:
        EngineError: It is absent, not downloaded yet, in another format, unsound, or needs code to run.
    """
    source = os.fspath(path)
    if not Path(source).exists():
        return _from_catalogue(source)
    for _, recognises, opens in FORMATS:
        if recognises(Path(source)):
            return opens(source)
    if is_zip(Path(source)) or Path(source).suffix.lower() == ".zip":
        files_in(source)  # says what is wrong with an archive
    known = "; ".join(name for name, _, _ in FORMATS)
    raise EngineError("model-unknown", f"'{source}' is not a model that can be opened. These can be opened: {known}.")


def _from_catalogue(name: str) -> SegmentationModel:
    entry = present(name)
    if entry is None or not entry.location.exists():
        raise EngineError(
            "model-absent",
            f"There is no file or folder '{name}', and no model of that name in the catalogue, which 'seghirescam models' lists.",
        )
    model = open_model(entry.location)
    check_weights(entry, model.sha256)
    return model
