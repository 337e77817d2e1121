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

Ran = tuple[str, float | None]
"""What computed it, and the seconds of the passes where they are not all that was done."""

Run = Callable[[], Ran]

WARM = 16
"""Slices; so few are converted for OpenVINO."""

KEEPING = ("memory kept", "preview", "live")


def main() -> None:
    """Run it twice: the first time, of some slices for a 2D network, makes what later ones keep, and converts networks."""
    from real_data import slab

    from SegHiResCAMLib.engine.models import open_model

    asked = json.loads(sys.argv[1])
    if any(word in asked["way"] for word in KEEPING):
        keep_memory()
    folder = Path(asked["folder"])
    path = _model(asked["model"], folder)
    model, case = open_model(path), _case(folder, *asked["slices"])
    warming = [slab(one, 0, WARM) for one in case] if model.spatial_dims == 2 else case
    _job(asked, path, model, *warming)()
    run = _job(asked, path, model, *case)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    by, passes = run()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "wall": wall if passes is None else passes,
                "user": after.ru_utime - before.ru_utime,
                "system": after.ru_stime - before.ru_stime,
                "peak_mb": after.ru_maxrss / 1024,
                "by": by,
            }
        )
    )


def _job(asked: dict[str, Any], path: Path, model: Any, volume: Any, kidneys: Any) -> Run:
    way = asked["way"]
    if way == "nnunet":
        return _nnunet(path, volume, Path(asked["folder"]))
    if way == "monai" or (way == "plain" and not asked["layer"]):
        return _forward(model, volume, by_monai=way == "monai")
    if not asked["layer"] and not way.startswith("four"):
        return _segment(model, volume, "auto" if way.startswith("auto") else "torch")
    if way == "plain":
        return _forward(model, volume, by_monai=False, only=kidneys)
    return partial(_explain, model, volume, kidneys, asked["layer"] or None, way)


def _case(folder: Path, start: int, stop: int) -> list[Any]:
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
    return [slab(MetaTensor(one, affine=affine), start, stop) for one in (values, mask)]


def _model(name: str, folder: Path) -> Path:
    from real_data import assemble_bundle

    if name in _CHANGED:
        return _changed(name, folder / name)
    if name != "nnunet":
        built = folder / name
        return built if built.exists() else assemble_bundle(Path(os.environ["SEGHIRESCAM_TEST_DATA"]), folder, name)
    import nnunet_peer as peer

    kept = folder / "nnunet.txt"
    if not kept.exists():
        plans = peer.sample_plans(3, patch_size=[64] * 3, spacing=[1.5, 1.5, 1.5])
        plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [16, 32, 64]
        with peer.nnunet(folder):
            kept.write_text(str(peer.train(folder, plans, peer.sample_dataset())))
    return Path(kept.read_text())


_CHANGED = ("instance-unet3d", "windowed-unet3d", "windowed-instance-unet3d")


def _changed(name: str, folder: Path) -> Path:
    """The spleen network with instance norm, or in windows of 96³, as it is initialised: what it costs does not depend on what it learned."""
    from tiny_bundle import unet_weights, write_bundle

    if folder.exists():
        return folder
    configs = Path(__file__).parents[1] / "data" / "spleen-unet3d" / "configs"
    inference, metadata = (
        json.loads((configs / file).read_text(encoding="utf-8")) for file in ("inference.json", "metadata.json")
    )
    network = inference["network_def"]
    if name.startswith("windowed"):
        del inference["preprocessing"]["transforms"][-2:]  # the cropping, and the resampling to one window
        inference["inferer"] = {"_target_": "SlidingWindowInferer", "roi_size": [96] * 3, "overlap": 0.25}
    if "instance" in name:
        network["norm"] = "instance"
    arguments = {key: value for key, value in network.items() if key != "_target_"}
    return write_bundle(folder, inference, metadata, unet_weights(arguments))


def _forward(model: Any, volume: Any, *, by_monai: bool, only: Any = None) -> Run:
    """PyTorch's forward passes alone: window by window, those that meet a region where one is given; or by MONAI's own inferer."""
    import torch
    from monai.inferers import SlidingWindowInferer

    from SegHiResCAMLib.engine.inference.fitting import windows_of
    from SegHiResCAMLib.engine.inference.preprocessing import onto_model_grid, prepare
    from SegHiResCAMLib.engine.inference.slicing import per_image, to_stack
    from SegHiResCAMLib.engine.inference.windows import at

    prepared = prepare(model, volume)
    stack = to_stack(model, prepared.image, "auto")
    region = torch.ones(len(stack), *stack.shape[2:])
    if only is not None:
        region = per_image(model, prepared.image, "auto", onto_model_grid(only, prepared))
    windows = windows_of(model, tuple(stack.shape[2:]))
    inferer = SlidingWindowInferer(windows.size, 1, model.window.overlap, "gaussian")

    def run() -> Ran:
        with torch.no_grad():
            for image, counts in zip(stack, region, strict=True):
                if by_monai:
                    inferer(image[None], model.network)
                    continue
                for source in map(windows.source, windows.boxes):
                    if counts[at(*source)].any():
                        model.network(windows.pad_images(image[None][at(..., *source)]))
        return "", None

    return run


def _segment(model: Any, volume: Any, engine: Any) -> Run:
    """Our own windows, stitching and labels."""
    from SegHiResCAMLib.engine.inference.preprocessing import prepare
    from SegHiResCAMLib.engine.inference.segmentation import decide, predict
    from SegHiResCAMLib.engine.progress import silent

    prepared, form = prepare(model, volume), partial(decide, model)

    def run() -> Ran:
        found = predict(model, prepared, form, axis="auto", device="cpu", engine=engine, progress=silent)
        return found.engine, None

    return run


def _nnunet(path: Path, volume: Any, folder: Path) -> Run:
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

    def run() -> Ran:
        predictor.predict_sliding_window_return_logits(image)
        return "", None

    return run


def _explain(model: Any, volume: Any, mask: Any, layer: str | None, way: str) -> Ran:
    from SegHiResCAMLib.engine.answer.explain import explain_segments
    from SegHiResCAMLib.engine.answer.explanation import ExplainRequest

    names = [label.name for label in model.labels]
    segments = (names * 4)[:4] if way.startswith("four") else names[:1]
    options = {"precision": "mixed"} if way == "preview" else {}
    request = ExplainRequest.of(volume, model, segments[0], mask=mask, layer=layer, device="cpu", **options)
    found = explain_segments(request, segments, outline=False)[0]
    return found.explained_by, found.timings["explanation"]


if __name__ == "__main__":
    main()
