"""One way of doing one job of `speed.py`, in a process of its own: its times and its peak memory, as a line of JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from SegHiResCAMLib.kept_memory import keep_memory

KEEPING = ("memory kept", "openvino", "preview", "live")


def main() -> None:
    """Run it twice: the first time makes what later ones keep, and converts networks."""
    asked = json.loads(sys.argv[1])
    if any(word in asked["way"] for word in KEEPING):
        keep_memory()
    run = _job(asked, Path(asked["folder"]))
    run()
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    by = run()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "wall": wall,
                "user": after.ru_utime - before.ru_utime,
                "system": after.ru_stime - before.ru_stime,
                "peak_mb": after.ru_maxrss / 1024,
                "by": by if isinstance(by, str) else "",
            }
        )
    )


def _job(asked: dict[str, Any], folder: Path) -> Callable[[], object]:
    from monai.data import MetaTensor

    from SegHiResCAMLib.engine.inference.segmentation import segment
    from SegHiResCAMLib.engine.models import open_model

    volume, kidneys = _volume(folder, *asked["slices"])
    path = _model(asked["model"], folder)
    model = open_model(path)
    way = asked["way"]
    if way == "nnunet":
        return _nnunet(path, volume, folder)
    if way == "monai" or (way == "plain" and not asked["layer"]):
        return _forward(model, volume, by_monai=way == "monai")
    if not asked["layer"] and not way.startswith("four"):
        engine = "openvino" if way == "openvino" else "torch"
        return lambda: segment(model, volume, device="cpu", engine=engine).engine
    mask = MetaTensor(kidneys, affine=volume.affine)
    if way == "plain":
        return _forward(model, volume, by_monai=False, only=kidneys if model.spatial_dims == 2 else None)
    return partial(_explain, model, volume, mask, asked["layer"] or None, way)


def _volume(folder: Path, start: int, stop: int) -> tuple[Any, Any]:
    """Slices of the kidney CT, and both kidneys as experts drew them."""
    import torch
    from monai.data import MetaTensor
    from real_data import slab, unpack_kidney_ct

    from SegHiResCAMLib.engine.images.volume import read_volume

    kept = folder / "ct.pt"
    if not kept.exists():
        case = unpack_kidney_ct(Path(os.environ["SEGHIRESCAM_TEST_DATA"]), folder)
        ct = read_volume(case / "PATIENT_DICOM")
        masks = [read_volume(case / "MASKS_DICOM" / one).as_tensor() for one in ("leftkidney", "rightkidney")]
        torch.save((ct.as_tensor(), ct.affine, (sum(masks) > 0).float()), kept)
    values, affine, mask = torch.load(kept)
    whole, organ = (MetaTensor(one, affine=affine) for one in (values, mask))
    return slab(whole, start, stop), slab(organ, start, stop).as_tensor()


def _model(name: str, folder: Path) -> Path:
    from real_data import assemble_bundle

    if name != "nnunet":
        built = folder / name
        return built if built.exists() else assemble_bundle(Path(os.environ["SEGHIRESCAM_TEST_DATA"]), folder, name)
    import nnunet_peer as peer

    kept = folder / "nnunet.txt"
    if not kept.exists():
        plans = peer.sample_plans(3, patch_size=[64] * 3, spacing=[3.0, 3.0, 3.0])
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [16, 32, 64]
        with peer.nnunet(folder):
            kept.write_text(str(peer.train(folder, plans, peer.sample_dataset())))
    return Path(kept.read_text())


def _forward(model: Any, volume: Any, *, by_monai: bool, only: Any = None) -> Callable[[], object]:
    """PyTorch's forward passes alone: window by window, or by MONAI's own inferer; of the slices of a region where one is given."""
    import torch
    from monai.inferers import SlidingWindowInferer

    from SegHiResCAMLib.engine.inference.fitting import windows_of
    from SegHiResCAMLib.engine.inference.preprocessing import prepare
    from SegHiResCAMLib.engine.inference.slicing import per_image, to_stack
    from SegHiResCAMLib.engine.inference.windows import at

    prepared = prepare(model, volume)
    stack = to_stack(model, prepared.image, "auto")
    if only is not None:
        stack = stack[per_image(model, prepared.image, "auto", only[0]).flatten(1).any(dim=1)]
    windows = windows_of(model, tuple(stack.shape[2:]))
    inferer = SlidingWindowInferer(windows.size, 1, model.window.overlap, "gaussian")

    def run() -> None:
        with torch.no_grad():
            for image in stack:
                if by_monai:
                    inferer(image[None], model.network)
                    continue
                for box in windows.boxes:
                    model.network(windows.pad_images(image[None][at(..., *windows.source(box))]))

    return run


def _nnunet(path: Path, volume: Any, folder: Path) -> Callable[[], object]:
    """nnU-Net's own predictor: windows, mirroring off, and blending, of what its own preprocessor makes of the volume."""
    import nibabel as nib
    import nnunet_peer as peer
    import torch

    with peer.nnunet(folder):
        predictor = peer.predictor(path)
        file = folder / "image.nii.gz"
        nib.save(nib.Nifti1Image(volume.numpy()[0], volume.affine.numpy()), file)
        image = torch.from_numpy(peer.preprocessed(predictor, [file])[0])
        predictor.network.load_state_dict(predictor.list_of_parameters[0])
    return lambda: str(predictor.predict_sliding_window_return_logits(image).dtype)


def _explain(model: Any, volume: Any, mask: Any, layer: str | None, way: str) -> str:
    from SegHiResCAMLib.engine.answer.explain import explain_segments
    from SegHiResCAMLib.engine.answer.explanation import ExplainRequest

    names = [label.name for label in model.labels]
    segments = (names * 4)[:4] if way.startswith("four") else names[:1]
    options = {"precision": "mixed", "engine": "openvino"} if way == "preview" else {}
    request = ExplainRequest.of(volume, model, segments[0], mask=mask, layer=layer, device="cpu", **options)
    return explain_segments(request, segments, outline=False)[0].explained_by


if __name__ == "__main__":
    main()
