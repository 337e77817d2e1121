"""What an explanation costs, beside a plain forward pass and beside grad-cam, in one process.

    make benchmark

Time is processor time of this process (median over rounds in which the candidates take turns, so that whatever else the machine does strikes
all alike). Memory is the peak above rest, from the kernel's high-water mark. Linux only.
"""

from __future__ import annotations

import ctypes
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from monai.networks.nets import BasicUNet, UNet
from peers import import_grad_cam
from rich.console import Console
from rich.table import Table

from SegHiResCAMLib.engine.cam.methods import find_method
from SegHiResCAMLib.engine.cam.stitched import stitched_map
from SegHiResCAMLib.engine.models.model import WindowSettings
from SegHiResCAMLib.engine.progress import silent
from SegHiResCAMLib.engine.windows import plan_windows

LIMITS = {"deep": 1.9, "shallow": 1.9, "1x1 tail": 1.15}  # explanation / forward
PEER_TIME, PEER_MEMORY = 0.6, 0.85  # explanation / grad-cam


@dataclass(frozen=True)
class Case:
    name: str
    network: torch.nn.Module
    layer: str
    depth: str
    images: tuple[int, ...]
    batch: int
    rounds: int


def unet(dims: int) -> torch.nn.Module:
    return UNet(dims, 1, 4, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2)


def cases() -> list[Case]:
    torch.manual_seed(0)
    bottom = "model.1.submodule.1.submodule.1.submodule.1.submodule"
    volumetric, slices, basic = unet(3), unet(2), BasicUNet(3, 1, 4)
    return [
        Case("UNet 3D, 6 windows of 96^3", volumetric, bottom, "deep", (6, 1, 96, 96, 96), 1, 3),
        Case("UNet 3D, 6 windows of 96^3", volumetric, "model.1.submodule.2", "shallow", (6, 1, 96, 96, 96), 1, 3),
        Case("UNet 2D, 8 slices of 256^2", slices, bottom, "deep", (8, 1, 256, 256), 8, 7),
        Case("UNet 2D, 8 slices of 256^2", slices, "model.1.submodule.2", "shallow", (8, 1, 256, 256), 8, 7),
        Case("BasicUNet 3D, 1 window of 96^3", basic, "down_4", "deep", (1, 1, 96, 96, 96), 1, 3),
        Case("BasicUNet 3D, 1 window of 96^3", basic, "upcat_1", "1x1 tail", (1, 1, 96, 96, 96), 1, 3),
    ]


def candidates(case: Case) -> dict[str, Callable[[], object]]:
    images = torch.randn(case.images)
    segment = torch.rand(case.images[0], *case.images[2:]) > 0.7
    windows = plan_windows(case.images[2:], WindowSettings())
    method, cpu = find_method("seg-hires-grad-cam"), torch.device("cpu")
    batches = list(zip(images.split(case.batch), segment.float().split(case.batch), strict=True))

    def forward() -> None:
        with torch.no_grad():
            for image, _ in batches:
                case.network(image)

    def ours() -> object:
        return stitched_map(
            case.network,
            images,
            segment,
            1,
            case.layer,
            method,
            windows,
            device=cpu,
            progress=silent,
            batch=case.batch,
        )

    def peer() -> object:
        for parameter in case.network.parameters():
            parameter.requires_grad_(True)
        with import_grad_cam().HiResCAM(case.network, [case.network.get_submodule(case.layer)]) as cam:
            return [cam(image, [lambda out, own=own: (out[1] * own).sum() for own in owns]) for image, owns in batches]

    return {"forward": forward, "ours": ours, "grad-cam": peer}


def peak_megabytes(run: Callable[[], object]) -> float:
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    rest = _status("VmRSS")
    run()
    return (_status("VmHWM") - rest) / 1024


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(case: Case) -> tuple[dict[str, float], dict[str, float]]:
    case.network.eval().requires_grad_(False)
    runs = candidates(case)
    for run in runs.values():
        run()  # the first call makes what later ones keep
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(case.rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    memory = {name: min(peak_megabytes(run) for _ in range(2)) for name, run in runs.items()}
    return {name: statistics.median(own) for name, own in times.items()}, memory


def main() -> None:
    console = Console(width=150)
    table = Table(title=f"Seg-HiRes-Grad CAM, one segment; {date.today()}, {_machine()}", title_justify="left")
    for column in (
        "network",
        "layer",
        "forward s",
        "ours / forward",
        "ours / grad-cam, time",
        "MB: forward",
        "ours",
        "grad-cam",
    ):
        table.add_column(column)
    table.add_column("ours / grad-cam, memory")
    for case in cases():
        times, memory = measure(case)
        table.add_row(
            case.name,
            f"{case.depth} ({case.layer})" if len(case.layer) < 20 else case.depth,
            f"{times['forward']:.2f}",
            _judged(times["ours"] / times["forward"], LIMITS[case.depth]),
            _judged(times["ours"] / times["grad-cam"], PEER_TIME),
            *(f"{memory[name]:.0f}" for name in ("forward", "ours", "grad-cam")),
            _judged(memory["ours"] / memory["grad-cam"], PEER_MEMORY),
        )
    console.print(table)


def _judged(value: float, limit: float) -> str:
    return f"{value:.2f} ({'within' if value <= limit else 'above'} {limit:g})"


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


if __name__ == "__main__":
    main()
