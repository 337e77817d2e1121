"""What stands in a removed region's place: tissue that could be there in this patient.

What a network does with an image that no patient has, as one with a black hole, says little; so does a fill in which the removed structure can
still be recognised.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from SegHiResCAMLib.engine.answer.measurements import dilated
from SegHiResCAMLib.engine.inference.windows import at
from SegHiResCAMLib.engine.progress import silent
from SegHiResCAMLib.records.map_check import Fill

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Axes = npt.NDArray[np.float64]

SHELL_MM = 5.0
"""How far around a region the tissue counts as its surroundings."""

CANDIDATES = 64
"""Places from which a patch may be taken."""


def fill(kind: Fill, image: Image, region: Mask, axes: Axes, seed: int = 0) -> Image:
    """Values for the whole image without what is in a region: (C, i, j, k).

    Args:
        kind: "shell", the mean of what lies up to 5 mm around the region; "patch", real tissue from elsewhere in the image, shifted as a whole
            so that what surrounds it there is most like what surrounds the region; "blur", what lies around, smoothed by a Gaussian as wide
            as the region, which itself does not count.
        image: (C, i, j, k).
        region: (i, j, k), neither empty nor everything.
        axes: (3, 3): the columns are the voxels' edges in mm.
        seed: Of the candidates for "patch".
    """
    return FILLS[kind](image, region, axes, np.random.default_rng(seed))


def _shell(image: Image, region: Mask, axes: Axes, _generator: np.random.Generator) -> Image:
    shell = surroundings(region, axes)
    means = image[:, shell].mean(axis=1, dtype=np.float64)
    filled: Image = np.broadcast_to(means.astype(image.dtype)[:, None, None, None], image.shape).copy()
    return filled


def surroundings(region: Mask, axes: Axes) -> Mask:
    """The voxels up to 5 mm around a region; its neighbours where voxels are larger."""
    near = np.zeros_like(region)
    for box, grown in dilated(region, axes, SHELL_MM, silent):
        near[box] = grown
    shell: Mask = near & ~region
    if not shell.any():
        shell = ndimage.binary_dilation(region) & ~region
    return shell if shell.any() else ~region


def _patch(image: Image, region: Mask, axes: Axes, generator: np.random.Generator) -> Image:
    """The image shifted by the candidate whose surroundings differ least from the region's; the image continues periodically."""
    shell = surroundings(region, axes)
    places, own = np.argwhere(shell), np.argwhere(region)
    shape = np.array(region.shape)
    extent = own.max(axis=0) - own.min(axis=0) + 1
    best, shift = math.inf, np.minimum(extent, shape - 1)
    for _ in range(CANDIDATES):
        candidate = generator.integers(0, shape)
        if region[tuple(((own + candidate) % shape).T)].any():
            continue  # it would show the region to itself
        there = image[at(slice(None), *((places + candidate) % shape).T)]
        difference = float(np.abs(there - image[:, shell]).mean(dtype=np.float64))
        if difference < best:
            best, shift = difference, candidate
    shifted: Image = np.roll(image, tuple(-shift), axis=(1, 2, 3))
    return shifted


def _blur(image: Image, region: Mask, axes: Axes, _generator: np.random.Generator) -> Image:
    """Normalised convolution: a Gaussian of the values around the region divided by that of where they are."""
    volume = region.sum() * abs(float(np.linalg.det(axes)))
    width = (3 * volume / (4 * math.pi)) ** (1 / 3)
    sigma = [width / float(np.linalg.norm(edge)) for edge in axes.T]
    around = (~region).astype(np.float64)
    weight = np.maximum(ndimage.gaussian_filter(around, sigma, mode="nearest"), 1e-12)
    channels = [ndimage.gaussian_filter(one * around, sigma, mode="nearest") / weight for one in image]
    return np.stack(channels).astype(image.dtype)


FILLS: dict[Fill, Callable[[Image, Mask, Axes, np.random.Generator], Image]] = {
    "shell": _shell,
    "patch": _patch,
    "blur": _blur,
}
"""In the order in which they are tried."""
