"""Volumes in overlapping windows: what an explanation of the stitched prediction costs, and what memory it takes."""

from __future__ import annotations

import numpy as np
import torch
from candidates import BOTTOM, HIRES, LAST_BLOCK, unet
from measure import measured, peak_megabytes
from monai.data import MetaTensor
from monai.networks.nets import UNet
from monai.transforms import Compose, EnsureTyped, Orientationd
from one_map import stitched_map
from peers import import_grad_cam
from table import Table, judged, ratio

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.inference.windows import plan_windows, predict_windows
from SegHiResCAMLib.engine.models.model import SegmentationModel, WindowSettings
from SegHiResCAMLib.records.models import Label

SETTINGS = WindowSettings((96, 96, 96), 0.25, "gaussian")
CPU = torch.device("cpu")


def time_table() -> Table:
    """Four windows, beside what people do: predict and explain each window by itself, and average the maps."""
    table = Table(
        "A volume of 160 x 160 x 96 in four windows of 96³ (UNet 3D)",
        ["layer", "forward, s", "ours, given a mask / forward", "ours, given a mask / grad-cam window by window",
         "mask in one of four windows / grad-cam window by window"],
    )  # fmt: skip
    torch.manual_seed(0)
    network, shape = unet(3), (160, 160, 96)
    images, windows = torch.randn(1, 1, *shape), plan_windows(shape, SETTINGS)
    everywhere, corner = torch.rand(1, *shape) > 0.7, torch.zeros(1, *shape, dtype=torch.bool)
    corner[0, :50, :50] = everywhere[0, :50, :50]
    for depth, layer in (("deep", BOTTOM), ("last block, half resolution", LAST_BLOCK)):

        def ours(pixel_set: torch.Tensor, name: str = layer) -> object:
            return stitched_map(network, images, pixel_set, 1, name, HIRES, windows)

        runs = {
            "forward": lambda: _predict(network, images, windows),
            "all": lambda: ours(everywhere),
            "one": lambda: ours(corner),
            "peer": lambda name=layer: _window_by_window(network, images, windows, name),
        }
        costs = {name: cost.seconds for name, cost in measured(runs, dict.fromkeys(runs, 3)).items()}
        table.add(
            depth,
            f"{costs['forward']:.2f}",
            ratio(costs["all"] / costs["forward"]),
            judged(costs["all"] / costs["peer"], 0.35),
            judged(costs["one"] / costs["peer"], 0.1),
        )
    return table


def memory_table() -> Table:
    """A large volume, of which the pixel set touches a few windows."""
    table = Table(
        "Memory for a volume of 512 x 512 x 300 in windows of 96³ (UNet 3D, 8 to 32 channels)",
        ["what", "peak MB above idle", "one window MB", "one float volume MB", "(peak - window) / volume"],
    )
    torch.manual_seed(0)
    network = UNet(3, 1, 3, channels=(8, 16, 32), strides=(2, 2), num_res_units=1).eval()
    layer, shape = "model.1.submodule.1.submodule", (512, 512, 300)
    window = torch.randn(1, 1, *SETTINGS.size)  # type: ignore[misc]
    alone = plan_windows(tuple(window.shape[2:]), SETTINGS)
    one = torch.ones(1, *window.shape[2:], dtype=torch.bool)

    def single() -> object:
        return stitched_map(network, window, one, 1, layer, HIRES, alone)

    single()
    least = min(peak_megabytes(single) for _ in range(2))
    images, pixel_set = torch.rand(1, 1, *shape), torch.zeros(1, *shape, dtype=torch.bool)
    pixel_set[0, 60:140, 60:140, 60:140] = True
    pixel_set[0, 400:440, 300:420, 200:280] = True
    plan = plan_windows(shape, SETTINGS)

    def over_windows() -> object:
        return stitched_map(network, images, pixel_set, 1, layer, HIRES, plan)

    volume = images.numel() * 4 / 2**20

    def add(what: str, peak: float, goal: float | None) -> None:
        table.add(what, f"{peak:.0f}", f"{least:.0f}", f"{volume:.0f}", judged((peak - least) / volume, goal))

    add("the map on the network's grid", peak_megabytes(over_windows), 2.0)
    request = _request(network, layer, images, pixel_set)
    add(
        "end to end: preprocessing, map, resampling to the volume's grid",
        peak_megabytes(lambda: explain(request, outline=False)),
        None,
    )
    return table


def _predict(network: torch.nn.Module, images: torch.Tensor, windows: object) -> object:
    with torch.no_grad():
        return predict_windows(network, images, windows, 1)  # type: ignore[arg-type]


def _window_by_window(network: torch.nn.Module, images: torch.Tensor, windows: object, layer: str) -> np.ndarray:
    """Each window's own prediction, its own map, scaled by its own maximum; then the mean."""
    total, count = np.zeros(images.shape[2:], np.float32), np.zeros(images.shape[2:], np.float32)
    for box in windows.boxes:  # type: ignore[attr-defined]
        window = images[(slice(None), slice(None), *box)]
        with torch.no_grad():
            segment = (network(window).argmax(1)[0] == 1).float()
        with import_grad_cam().HiResCAM(network, [network.get_submodule(layer)]) as cam:
            total[box] += cam(window, [lambda out, own=segment: (out[1] * own).sum()])[0]
        count[box] += 1
    return total / count


def _request(network: torch.nn.Module, layer: str, images: torch.Tensor, pixel_set: torch.Tensor) -> ExplainRequest:
    """The same as a user asks it: a volume, a mask, a model without intensities to change."""
    steps = Compose([Orientationd("image", "RAS", labels=None), EnsureTyped("image")])
    labels = (Label("organ", 1, 1, (1.0, 0.0, 0.0)),)
    model = SegmentationModel("UNet", network, 3, 1, labels, "softmax", steps, SETTINGS, "0" * 64, "benchmark")
    affine = torch.eye(4, dtype=torch.float64)
    volume, mask = MetaTensor(images[0], affine=affine), MetaTensor(pixel_set, affine=affine)
    return ExplainRequest.of(volume, model, "organ", layer=layer, mask=mask, device="cpu")
