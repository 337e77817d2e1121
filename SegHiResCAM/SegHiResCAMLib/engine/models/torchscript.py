"""A TorchScript archive by itself, with the description that a MONAI bundle has: beside it, or exported into it.

`monai.bundle ckpt_export` writes a bundle's configuration and metadata into the archive's folder `extra`.
"""

from __future__ import annotations

from pathlib import Path

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.bundle import described_model, inference_config
from SegHiResCAMLib.engine.models.bundle_weights import BundleWeights
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.untrusted.archive import unpacked
from SegHiResCAMLib.engine.models.untrusted.script import is_script


def is_torchscript(path: Path) -> bool:
    """Whether `path` is a TorchScript archive."""
    return is_script(path)


def open_torchscript(path: str) -> SegmentationModel:
    """The model in the TorchScript archive `path`. It segments; its layers are hidden.

    Raises:
        EngineError: `script-undescribed`, where nothing says what it takes and what its channels mean; or as `open_bundle`.
    """
    weights = Path(path)
    with unpacked(path) as inside:
        for folder in (weights.parent / "configs", weights.parent.parent / "configs", inside / "extra"):
            inference = inference_config(folder)
            if inference is not None:
                return described_model(inference, folder / "metadata.json", BundleWeights(weights), path)
    raise EngineError(
        "script-undescribed",
        f"The TorchScript archive '{path}' does not say how volumes are prepared for it, nor what it segments. Take the whole MONAI bundle, whose "
        "weights are in 'models/model.pt'; or put the bundle's folder 'configs' beside the archive.",
    )
