"""Images of sizes that are no multiples: padded only where a network cannot take them, along the axes where it cannot, and no further."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import torch
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.networks import nets
from monai.transforms import Compose
from refusals import refusal
from torch import nn

from SegHiResCAMLib.engine.inference.fitting import windows_of
from SegHiResCAMLib.engine.inference.windows import predict_windows
from SegHiResCAMLib.engine.models import SegmentationModel, WindowSettings
from SegHiResCAMLib.engine.models.authors_unet import AuthorsUNet
from SegHiResCAMLib.engine.models.networks import NETWORKS, OWN_NETWORKS
from SegHiResCAMLib.engine.output import main_output

ODD_2D, ODD_3D = (37, 50), (19, 22, 33)
BOTH = {"in_channels": 1, "out_channels": 2}
UNET: dict[str, Any] = {"spatial_dims": 3, **BOTH, "channels": [2, 4, 8], "norm": "instance"}
DYNUNET: dict[str, Any] = {"spatial_dims": 3, **BOTH, "filters": [4, 4, 4], "kernel_size": [3, 3, 3]}
SEGRESNET: dict[str, Any] = {"spatial_dims": 3, "init_filters": 8, **BOTH}

# Class, arguments, an odd size, and the smallest one that the network takes.
CASES: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...]]] = [
    ("UNet", {**UNET, "strides": [2, 2]}, ODD_3D, (20, 24, 36)),
    ("UNet", {**UNET, "strides": [[1, 2, 2], [2, 2, 1]]}, ODD_3D, (20, 24, 34)),
    ("UNet", {**UNET, "strides": [2, 3], "kernel_size": 3}, ODD_3D, (24, 24, 36)),
    ("UNet", {**UNET, "spatial_dims": 2, "strides": [2, 2]}, ODD_2D, (40, 52)),
    ("AttentionUnet", {key: UNET[key] for key in UNET if key != "norm"} | {"strides": [2, 2]}, ODD_3D, (20, 24, 36)),
    ("BasicUNet", {"spatial_dims": 2, "in_channels": 1, "features": [2, 2, 2, 2, 4, 2]}, ODD_2D, ODD_2D),
    ("BasicUNet", {"spatial_dims": 3, "in_channels": 1, "features": [2, 2, 2, 2, 4, 2]}, ODD_3D, ODD_3D),
    ("DynUNet", {**DYNUNET, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}, ODD_3D, (20, 24, 36)),
    (
        "DynUNet", {**DYNUNET, "strides": [1, [1, 2, 2], 2], "upsample_kernel_size": [[1, 2, 2], 2]},
        ODD_3D, (20, 24, 36),
    ),
    ("FlexibleUNet", {**BOTH, "backbone": "efficientnet-b0", "spatial_dims": 2}, ODD_2D, (38, 50)),
    ("HighResNet", {"spatial_dims": 3, **BOTH}, ODD_3D, ODD_3D),
    ("MedNeXt", {"spatial_dims": 2, "init_filters": 4, **BOTH, "blocks_down": [1, 1], "blocks_up": [1, 1]}, ODD_2D, (40, 52)),
    ("SegResNet", {**SEGRESNET, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]}, ODD_3D, (20, 24, 36)),
    ("SegResNetDS", {**SEGRESNET, "blocks_down": [1, 1, 1], "dsdepth": 2}, ODD_3D, (20, 24, 36)),
    ("SegResNetDS2", {**SEGRESNET, "blocks_down": [1, 1, 1]}, ODD_3D, (20, 24, 36)),
    ("SwinUNETR", {**BOTH, "feature_size": 12, "spatial_dims": 2}, ODD_2D, (64, 64)),
    ("UNETR", {**BOTH, "img_size": (48, 64), "feature_size": 4, "hidden_size": 24, "mlp_dim": 24, "num_heads": 2, "spatial_dims": 2}, ODD_2D, (48, 64)),
    ("VNet", {"spatial_dims": 2, **BOTH}, ODD_2D, (48, 64)),
    ("Vanilla_UNet_2d", {}, ODD_2D, ODD_2D),
]  # fmt: skip


def network(name: str, arguments: dict[str, Any]) -> nn.Module:
    torch.manual_seed(1)
    built = AuthorsUNet(**arguments) if name in OWN_NETWORKS else getattr(nets, name)(**arguments)
    return built.eval().requires_grad_(False)


def model(net: nn.Module, dims: int, **window: Any) -> SegmentationModel:
    return SegmentationModel(
        "Tiny", net, 2 if dims == 2 else 3, 1, (), "softmax", Compose([]), WindowSettings(**window), sha256="0" * 64, source="here",
    )  # fmt: skip


def predicted(of: SegmentationModel, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return predict_windows(
            lambda windows: main_output(of.network(windows)), images, windows_of(of, tuple(images.shape[2:])), 1
        )


def test_every_network_that_can_be_opened_is_tried() -> None:
    classes = {
        getattr(nets, name) for name in NETWORKS if not name.casefold().startswith("mednext") or name == "MedNeXt"
    }
    assert classes == {getattr(nets, name) for name, *_ in CASES if name not in OWN_NETWORKS}


@pytest.mark.parametrize(("name", "arguments", "size", "smallest"), CASES, ids=str)
def test_an_image_is_padded_to_the_smallest_size_that_its_network_takes(
    name: str, arguments: dict[str, Any], size: tuple[int, ...], smallest: tuple[int, ...]
) -> None:
    """Where it takes the image's own size, the logits are those of MONAI's inferer; where that fails, those on the smallest padded image."""
    net = network(name, arguments)
    of, images = model(net, len(size)), torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(2))
    windows = windows_of(of, size)
    assert windows.size == smallest
    found = predicted(of, images)
    with torch.no_grad():
        if smallest == size:
            expected = main_output(SimpleInferer()(images, net))
        else:
            expected = windows.crop(main_output(net(windows.pad_images(images))))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("size", [(19, 22, 33), (20, 24, 36), (17, 40, 16)])
def test_no_network_takes_a_size_smaller_than_the_one_found(size: tuple[int, ...]) -> None:
    net = network("UNet", {**UNET, "strides": [[1, 2, 2], [2, 2, 1]]})
    found = windows_of(model(net, 3), size).size
    for axis in range(3):
        for length in range(size[axis], found[axis]):
            shorter = (*found[:axis], length, *found[axis + 1 :])
            with suppress(RuntimeError):
                assert net(torch.zeros(1, 1, *shorter)).shape[2:] != shorter


WHOLE_AXES: list[dict[str, Any]] = [
    {"roi_size": (16, 16, -1), "overlap": 0.25},
    {"roi_size": (16, None, 0), "overlap": (0.5, 0.1, 0.25), "mode": "gaussian"},
    {"roi_size": (8, 48, 12), "overlap": (0.5, 0.25, 0.0), "mode": "gaussian", "sigma_scale": (0.1, 0.2, 0.3)},
    {"roi_size": (-1, 12, 8), "overlap": (0.0, 0.75, 0.6), "padding_mode": "replicate"},
]


@pytest.mark.parametrize("inferer", WHOLE_AXES, ids=str)
def test_windows_over_whole_axes_and_with_an_overlap_for_each_axis_are_monais(inferer: dict[str, Any]) -> None:
    net = network("UNet", {**UNET, "strides": [2, 2]})
    images = torch.randn(1, 1, 24, 40, 20, generator=torch.Generator().manual_seed(2))
    settings = {"overlap": inferer["overlap"], "blending": inferer.get("mode", "constant")}
    settings |= {name: inferer[name] for name in ("sigma_scale", "padding_mode") if name in inferer}
    size = tuple(length if length and length > 0 else None for length in inferer["roi_size"])
    with torch.no_grad():
        expected = SlidingWindowInferer(**inferer)(images, net)
    assert torch.equal(predicted(model(net, 3, size=size, **settings), images), expected)


@pytest.mark.parametrize("size", [(37, 50), (40, 52), (41, 48)])
def test_a_torchscript_archive_is_padded_no_further_than_its_network(size: tuple[int, int]) -> None:
    """It is tried on a small image that leaves the same remainders."""
    net = network("UNet", {**UNET, "spatial_dims": 2, "strides": [2, 2]})
    hidden = replace(model(torch.jit.script(net), 2, multiple=16), layers_hidden="It hides its layers.")
    images = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(2))
    assert windows_of(hidden, size).size == windows_of(model(net, 2), size).size
    torch.testing.assert_close(predicted(hidden, images), predicted(model(net, 2), images))


def test_a_window_that_the_network_cannot_take_is_refused_with_a_message() -> None:
    of = model(network("UNet", {**UNET, "strides": [2, 2]}), 3, size=(18, 18, 18))
    error = refusal(lambda: windows_of(of, (40, 40, 40)))
    assert error.code == "window-unfit"
    assert "18 x 18 x 18" in error.message
