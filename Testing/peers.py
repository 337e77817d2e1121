"""Peer libraries to compare with."""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

import numpy as np
import torch


def import_grad_cam() -> Any:
    """The package `pytorch_grad_cam`.

    It imports torchvision for picture helpers that segmentation does not use. There is no torchvision build for every PyTorch, so
    where it is missing the names it imports stand empty.
    """
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        names = {"torchvision": [], "torchvision.transforms": ["Compose", "Normalize", "ToTensor"]}
        names["torchvision.transforms.functional"] = ["resize"]
        for module, contents in names.items():
            sys.modules[module] = types.ModuleType(module)
            for name in contents:
                setattr(sys.modules[module], name, type(name, (), {}))
    import pytorch_grad_cam

    return pytorch_grad_cam


def import_m3d_cam() -> Any:
    """The module `medcam.medcam` of M3d-Cam. Its evaluation asks for pandas, which explaining does not need."""
    for name, contents in (("evaluator", "Evaluator"), ("evaluation_utils", "comp_score")):
        stand_in = types.ModuleType(f"medcam.evaluation.{name}")
        setattr(stand_in, contents, type(contents, (), {}))
        sys.modules.setdefault(stand_in.__name__, stand_in)
    from medcam import medcam

    return medcam


def grad_cam_raw(
    peer: str, network: torch.nn.Module, inputs: torch.Tensor, pixel_set: torch.Tensor, class_index: int, layer: str
) -> torch.Tensor:
    """The raw map (*grid) of grad-cam's class `peer` ("HiResCAM", "GradCAM", ...): before its ReLU, scaling and zoom."""

    class Recording(getattr(import_grad_cam(), peer)):  # type: ignore[misc]
        def get_cam_image(self, *args: Any) -> np.ndarray:
            self.raw = super().get_cam_image(*args)
            return self.raw

    def score(output: torch.Tensor) -> torch.Tensor:
        return (output[class_index] * pixel_set.to(output)).sum()

    required = [parameter.requires_grad for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.requires_grad_(True)  # grad-cam raises on frozen networks
    try:
        with Recording(model=network, target_layers=[network.get_submodule(layer)]) as cam:
            cam(input_tensor=inputs, targets=[score])
            return torch.from_numpy(np.asarray(cam.raw)[0])
    finally:
        network.zero_grad()
        for parameter, flag in zip(network.parameters(), required, strict=True):
            parameter.requires_grad_(flag)


def captum_raw(
    method: str, network: torch.nn.Module, inputs: torch.Tensor, pixel_set: torch.Tensor, class_index: int, layer: str
) -> torch.Tensor:
    """The raw signed map (*grid) of captum: "hires" is its gradient times activation summed over channels, "grad" its GradCAM."""
    from captum.attr import LayerGradCam, LayerGradientXActivation

    def score(image: torch.Tensor) -> torch.Tensor:
        return (network(image)[:, class_index] * pixel_set.to(image)).flatten(1).sum(dim=1)

    module = network.get_submodule(layer)
    if method == "hires":
        return LayerGradientXActivation(score, module).attribute(inputs).detach().sum(dim=1)[0]
    return LayerGradCam(score, module).attribute(inputs, relu_attributions=False).detach()[0, 0]
