"""Instance norm as it is written out for OpenVINO is PyTorch's, and OpenVINO then computes it as exactly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from SegHiResCAMLib.engine.inference.engine_choice import LOGITS
from SegHiResCAMLib.engine.inference.openvino_network import OpenVinoNetwork, is_installed
from SegHiResCAMLib.engine.inference.written_out import InstanceNormWrittenOut

NORMS = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 16, 24), (1, 2, 7, 13), (2, 3, 8, 12, 5), (1, 2, 11, 1, 6), (1, 2, 9)])
def test_it_is_instance_norm(shape: tuple[int, ...], affine: bool) -> None:
    torch.manual_seed(0)
    norm = NORMS[len(shape)](shape[1], affine=affine).double()
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    values = 5 + torch.randn(shape, dtype=torch.float64)
    with InstanceNormWrittenOut():
        found = norm(values)
    assert torch.allclose(found, norm(values), rtol=0, atol=1e-12)


def test_means_of_training_stay_means_of_training() -> None:
    norm = nn.InstanceNorm2d(2, track_running_stats=True).eval()
    values = 3 + torch.randn(1, 2, 8, 8)
    with InstanceNormWrittenOut():
        assert torch.allclose(norm(values), values, atol=1e-4)  # their mean is 0, their variance 1


@pytest.mark.skipif(not is_installed(), reason="OpenVINO is not installed")
@pytest.mark.parametrize("shape", [(1, 1, 512, 512), (1, 1, 96, 96, 96)])
def test_openvino_is_exact_where_most_of_an_image_is_air(shape: tuple[int, ...]) -> None:
    """Its own operation is 1e-4 of the range from float64 in such a slice, and 8e-4 in such a volume."""
    torch.manual_seed(0)
    image = torch.full(shape, -1.0)
    inside = tuple(slice(size // 3, size // 2) for size in shape)[2:]
    image[(..., *inside)].normal_()
    convolution = nn.Conv2d if len(shape) == 4 else nn.Conv3d
    norm = NORMS[len(shape)]
    network = nn.Sequential(
        convolution(1, 16, 3, padding=1), norm(16), convolution(16, 16, 3, padding=1), norm(16)
    ).eval()
    with torch.no_grad():
        found = OpenVinoNetwork(network, image)(image)
        exact = network.double()(image.double())
    assert (found - exact).abs().max() <= LOGITS / 50 * (exact.max() - exact.min())
