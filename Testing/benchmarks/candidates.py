"""The same explanation by every library: the raw score of one class on a segment, at one layer, for a few images."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from monai.networks.nets import BasicUNet, UNet
from peers import import_grad_cam, import_m3d_cam

from SegHiResCAMLib.engine.cam.leaf import Target
from SegHiResCAMLib.engine.cam.methods import METHODS
from SegHiResCAMLib.engine.cam.passes import ScoreQuestion
from SegHiResCAMLib.engine.cam.stitched import stitched_maps
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.windows import Windows, plan_windows
from SegHiResCAMLib.engine.models.model import WindowSettings
from SegHiResCAMLib.engine.progress import silent

HIRES = METHODS["seg-hires-grad-cam"]
BOTTOM = "model.1.submodule.1.submodule.1.submodule.1.submodule"
LAST_BLOCK = "model.1.submodule.2"


@dataclass(frozen=True)
class Case:
    """A network, a layer, and images (B, C, *spatial) of which `batch` are explained at once."""

    name: str
    network: torch.nn.Module
    layer: str
    depth: str
    images: tuple[int, ...]
    batch: int
    rounds: int


def unet(dims: int) -> torch.nn.Module:
    """MONAI's U-Net of the usual size."""
    net = UNet(dims, 1, 4, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2)
    return net.eval()


def cases() -> list[Case]:
    """The shapes that all are measured on."""
    torch.manual_seed(0)
    volumetric, slices, basic = unet(3), unet(2), BasicUNet(3, 1, 4).eval()
    cubes, pictures, cube = (4, 1, 96, 96, 96), (8, 1, 256, 256), (1, 1, 96, 96, 96)
    return [
        Case("UNet 3D, 4 windows of 96³", volumetric, BOTTOM, "deep", cubes, 1, 3),
        Case("UNet 3D, 4 windows of 96³", volumetric, LAST_BLOCK, "last block, half resolution", cubes, 1, 3),
        Case("UNet 2D, 8 slices of 256²", slices, BOTTOM, "deep", pictures, 8, 7),
        Case("UNet 2D, 8 slices of 256²", slices, LAST_BLOCK, "last block, half resolution", pictures, 8, 7),
        Case("BasicUNet 3D, 1 window of 96³", basic, "down_4", "deep", cube, 1, 2),
        Case("BasicUNet 3D, 1 window of 96³", basic, "upcat_1", "before a 1x1 tail", cube, 1, 2),
    ]


def candidates(case: Case) -> dict[str, Callable[[], object]]:
    """Each library's own way, as its documentation shows it, with parameters as a network has them."""
    images = torch.randn(case.images, generator=torch.Generator().manual_seed(1))
    segment = torch.rand((case.images[0], *case.images[2:]), generator=torch.Generator().manual_seed(2)) > 0.7
    windows = plan_windows(case.images[2:], WindowSettings())
    batches = list(zip(images.split(case.batch), segment.float().split(case.batch), strict=True))
    network = case.network

    def forward() -> None:
        with torch.no_grad():
            for image, _ in batches:
                network(image)

    found: dict[str, Callable[[], object]] = {
        "forward": forward,
        "ours": lambda: ours(network, images, segment, windows, case, 1),
        "ours, four segments": lambda: ours(network, images, segment, windows, case, 4),
        "grad-cam": lambda: [grad_cam(network, case.layer, *batch) for batch in batches],
        "captum": lambda: [captum(network, case.layer, *batch) for batch in batches],
        "torchcam": lambda: [torchcam(network, case.layer, *batch) for batch in batches],
    }
    injected = m3d_cam(copy.deepcopy(network), case.layer)
    return found | {"M3d-Cam": lambda: [injected(*batch) for batch in batches]}


def ours(
    network: torch.nn.Module, images: torch.Tensor, segment: torch.Tensor, windows: Windows, case: Case, segments: int
) -> object:
    """Maps of as many classes on the same positions."""
    questions = [ScoreQuestion(Target(number), segment) for number in range(segments)]
    workplace = Workplace(network, torch.device("cpu"), case.batch)
    return stitched_maps(workplace, images, questions, [case.layer], HIRES, windows, progress=silent)


def grad_cam(network: torch.nn.Module, layer: str, image: torch.Tensor, segment: torch.Tensor) -> object:
    """HiResCAM, up to the map on the image's grid."""
    with import_grad_cam().HiResCAM(network, [network.get_submodule(layer)]) as cam:
        return cam(image, [lambda out, own=own: (out[1] * own).sum() for own in segment])


def captum(network: torch.nn.Module, layer: str, image: torch.Tensor, segment: torch.Tensor) -> object:
    """Gradient times activation, on the layer's grid."""
    from captum.attr import LayerGradientXActivation

    def score(inputs: torch.Tensor) -> torch.Tensor:
        return (network(inputs)[:, 1] * segment).flatten(1).sum(dim=1)

    return LayerGradientXActivation(score, network.get_submodule(layer)).attribute(image).sum(dim=1)


def torchcam(network: torch.nn.Module, layer: str, image: torch.Tensor, segment: torch.Tensor) -> object:
    """LayerCAM, on the layer's grid (it has no HiResCAM)."""
    from torchcam.methods import LayerCAM

    with LayerCAM(network, layer, input_shape=tuple(image.shape[1:])) as cam:
        return cam(scores=network(image), targets=[lambda out, own=own: (out[1] * own).sum() for own in segment])


def m3d_cam(network: torch.nn.Module, layer: str) -> Callable[[torch.Tensor, torch.Tensor], object]:
    """Grad-CAM, up to the map on the image's grid (it has no HiResCAM)."""
    chosen: list[torch.Tensor] = []

    def label(output: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros_like(output)
        mask[:, 1] = chosen[-1]
        return mask

    injected = import_m3d_cam().inject(network, backend="gcam", layer=layer, label=label, return_attention=True)

    def explain(image: torch.Tensor, segment: torch.Tensor) -> object:
        chosen[:] = [segment]
        return injected(image)

    return explain
