"""Every method's formula once more, written plainly in NumPy over the windows of one graph, to compare the engine with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.networks.nets import AttentionUnet, BasicUNet, DynUNet, SegResNet, UNet
from scipy.ndimage import gaussian_filter
from torch import nn

ADDED = {
    "seg-hires-grad-cam",
    "seg-xres-cam",
    "seg-layer-cam",
    "seg-elementwise-cam",
    "seg-eigengrad-cam",
    "seg-eigen-cam-2025",
}


def unet(dims: int) -> nn.Module:
    return UNet(dims, 1, 3, channels=(4, 8, 16), strides=(2, 2), num_res_units=1)


def basic_unet(dims: int) -> nn.Module:
    return BasicUNet(dims, 1, 3, features=(4, 4, 6, 6, 8, 4))


def dyn_unet(dims: int) -> nn.Module:
    return DynUNet(dims, 1, 3, [3] * 3, [1, 2, 2], [2, 2], filters=[4, 6, 8], res_block=True)


def seg_res_net(dims: int) -> nn.Module:
    return SegResNet(dims, init_filters=8, in_channels=1, out_channels=3, blocks_down=(1, 1, 1), blocks_up=(1, 1))


def attention_unet(dims: int) -> nn.Module:
    return AttentionUnet(dims, 1, 3, (4, 6, 8), (2, 2))


NETWORKS = {  # how it is built, size of the image along the first axis and the others, a deep block
    "UNet": (unet, (16, 16), "model.1.submodule.1.submodule"),
    "BasicUNet": (basic_unet, (32, 16), "down_3"),
    "DynUNet": (dyn_unet, (16, 16), "bottleneck"),
    "SegResNet": (seg_res_net, (16, 16), "down_layers.2"),
    "AttentionUnet": (attention_unet, (16, 16), "model.1.submodule.1.submodule"),
}


def activation_and_gradient(
    network: nn.Module, image: torch.Tensor, pixel_set: torch.Tensor, index: int, layer: str
) -> tuple[np.ndarray, np.ndarray]:
    """A and G (K, *grid) of one image, by the plainest hook there is."""
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output)
        return output.clone()

    handle = network.get_submodule(layer).register_forward_hook(keep)
    score = (network(image.clone().requires_grad_())[0, index] * pixel_set).sum()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[-1])
    return kept[-1].detach()[0].numpy(), gradient[0].numpy()


@dataclass
class Reference:
    """All windows at once.

    Attributes:
        activations: A of each window (K, *grid).
        gradients: G of each window.
        score: Change of A of all windows -> S of the stitched prediction.
        score_of: Change of the input of all windows -> S.
        inputs: Of each window (C, *window).
        pixels: Sum of the pixel set.
        head: Weights of the class in the last 1x1 convolution, where that is the whole tail.
    """

    activations: Sequence[np.ndarray]
    gradients: Sequence[np.ndarray]
    score: Callable[[Callable[[torch.Tensor], torch.Tensor]], float]
    score_of: Callable[[Sequence[np.ndarray]], float]
    inputs: Sequence[np.ndarray]
    pixels: float
    head: np.ndarray | None = None
    centre: float = 0.0

    def maps(self, method: str) -> list[np.ndarray]:
        """The raw map of each window, before the sign and centre of the eigen methods."""
        a, g = (np.stack(values).astype(np.float64) for values in (self.activations, self.gradients))
        if method == "seg-hires-grad-cam":
            return list((g * a).sum(1))
        if method == "seg-layer-cam":
            return list((np.maximum(g, 0) * a).sum(1))
        if method == "seg-elementwise-cam":
            return list(np.maximum(g * a, 0).sum(1))
        if method == "seg-xres-cam":
            return list((blocks(g, 2, np.mean) * a).sum(1))
        if method.startswith(("seg-eigen-", "seg-eigengrad-")):
            x = {"seg-eigen-cam": a, "seg-eigengrad-cam": g * a, "seg-eigen-cam-2025": np.abs(g) * a}[method]
            rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
            mean = rows.mean(0)
            direction = np.linalg.svd(rows - mean, full_matrices=False)[2][0]
            self.centre = float(mean @ direction)
            return list(np.einsum("wk...,k->w...", x, direction))
        return self.class_free(method, a) or list(np.einsum("wk...,k->w...", a, self.weights(method, a, g)))

    def class_free(self, method: str, a: np.ndarray) -> list[np.ndarray]:
        """Methods that look at activations alone, but for Eigen-CAM."""
        if method == "seg-kpca-cam":
            self.centre = 0.0  # the kernel is centred instead
            return list(kernel_component(a))
        return list(np.einsum("wk...,k->w...", a, standing_out(a))) if method == "seg-fem" else []

    def weights(self, method: str, a: np.ndarray, g: np.ndarray) -> np.ndarray:
        """The channel weights of the methods that have them."""
        every = (0, *range(2, a.ndim))
        if method == "seg-cam":
            return self.head
        if method == "seg-grad-cam":
            return g.mean(every)
        if method == "seg-xgrad-cam":
            return np.divide((g * a).sum(every), a.sum(every), out=np.zeros(a.shape[1]), where=a.any(axis=every))
        if method.startswith("seg-grad-cam-pp"):
            shape = (1, -1) + (1,) * (a.ndim - 2)
            third = (
                (a * g**3).sum(every).reshape(shape) if method.endswith("local") else a.sum(every).reshape(shape) * g**3
            )
            alpha = np.divide(g**2, 2 * g**2 + third, out=np.zeros_like(g), where=g != 0)
            return (alpha * np.maximum(g, 0)).sum(every)
        if method == "seg-ablation-cam":
            score = self.score(lambda activation: activation)
            without = [self.score(lambda activation, k=k: zeroed(activation, k)) for k in range(a.shape[1])]
            return (score - np.array(without)) / abs(score)
        if method == "seg-score-cam":
            means = []
            for k in range(a.shape[1]):
                seen = [stretched(one[k], image.shape[1:]) for one, image in zip(a, self.inputs, strict=True)]
                low, high = min(map(np.min, seen)), max(map(np.max, seen))
                changed = []
                for h, image in zip(seen, self.inputs, strict=True):
                    h = (h - low) / ((high - low) or 1)  # noqa: PLW2901
                    sigma = [0, *[min(image.shape[1:]) / 8] * (image.ndim - 1)]
                    blurred = gaussian_filter(image, sigma, mode="nearest", truncate=3.0)
                    changed.append((h * image + (1 - h) * blurred).astype(image.dtype))
                means.append(self.score_of(changed) / self.pixels)
            weights = np.exp(np.array(means) - max(means))
            return weights / weights.sum()
        raise ValueError(method)

    def finished(self, method: str, whole: np.ndarray) -> np.ndarray:
        """Sign and centre of the eigen methods."""
        if not method.startswith(("seg-eigen-", "seg-eigengrad-", "seg-kpca-")):
            return whole
        whole = whole - self.centre
        return whole if whole.max() >= -whole.min() else -whole


def standing_out(a: np.ndarray) -> np.ndarray:
    """The share of each channel's locations that lie two standard deviations above its mean."""
    every = (0, *range(2, a.ndim))
    return (a > a.mean(every, keepdims=True) + 2 * a.std(every, keepdims=True)).mean(every)


def kernel_component(a: np.ndarray, kernel: str = "sigmoid", every: int = 1) -> np.ndarray:
    """By scikit-learn, with the kernel in long doubles: found from every n-th location of each window, for all of them."""
    from sklearn.decomposition import KernelPCA

    rows = np.moveaxis(a, 1, -1).reshape(len(a), -1, a.shape[1]).astype(np.longdouble)
    rows = rows - rows.mean((0, 1))
    support, rows = rows[:, ::every].reshape(-1, a.shape[1]), rows.reshape(-1, a.shape[1])

    def alike(x: np.ndarray) -> np.ndarray:
        if kernel == "sigmoid":
            values = np.tanh(x @ support.T / a.shape[1] + 1) - np.tanh(np.longdouble(1))
        else:
            values = np.exp(-((x[:, None] - support) ** 2).sum(-1) / a.shape[1]) - 1
        return values.astype(np.float64)  # less a constant, which centring removes

    found = KernelPCA(1, kernel="precomputed", eigen_solver="dense").fit(alike(support))
    return found.transform(alike(rows)).reshape(len(a), *a.shape[2:])


def zeroed(activation: torch.Tensor, channel: int) -> torch.Tensor:
    changed = activation.clone()
    changed[:, channel] = 0
    return changed


def stretched(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    mode = "bilinear" if len(size) == 2 else "trilinear"
    given = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    return nn.functional.interpolate(given, size=tuple(size), mode=mode, align_corners=False)[0, 0].numpy()


def blocks(values: np.ndarray, pool: int, reduce: Callable[[np.ndarray], float]) -> np.ndarray:
    """Every block of the grid replaced by its mean or maximum, block by block."""
    found = np.empty_like(values)
    for corner in np.ndindex(*[-(-length // pool) for length in values.shape[2:]]):
        box = tuple(slice(pool * start, pool * start + pool) for start in corner)
        for window, channel in np.ndindex(values.shape[:2]):
            found[(window, channel, *box)] = reduce(values[(window, channel, *box)])
    return found
