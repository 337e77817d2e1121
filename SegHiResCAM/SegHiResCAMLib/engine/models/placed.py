"""MONAI's transforms that resample, with an affine that says where their values really lie.

What leads back to the volume is the affine alone, so it must be right for every argument that a description may give:

- torch's "nearest" rounds down when it resizes and "nearest-exact" rounds halves up, so their values lie beside the middle of the voxels;
- MONAI before 1.6 gives the same affine for `align_corners` as without it;
- `Spacingd` with `recompute_affine` forgets where the volume lay, and with a spline and `align_corners` stretches the image.

The values are MONAI's own. Where a transform is evaluated lazily, the affine itself decides what is sampled, and nothing is to be corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai import transforms
from monai.data import MetaTensor

from SegHiResCAMLib.grids import SAME_PLACE, distance

Line = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


class Resized(transforms.Resized):  # type: ignore[misc]  # the library ships no types
    """As `monai.transforms.Resized`."""

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """The resized image."""
        found: dict[Hashable, Any] = super().__call__(data, lazy)
        if not (self.lazy if lazy is None else lazy):
            for key, mode, corners in zip(self.keys, self.mode, self.align_corners, strict=True):
                found[key] = placed(found[key], data[key], _resizing(data[key], found[key], mode, corners))
        return found


class Zoomd(transforms.Zoomd):  # type: ignore[misc]  # the library ships no types
    """As `monai.transforms.Zoomd`."""

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """The zoomed image, in MONAI's two steps: resized, then padded or cropped to the size that it had."""
        if self.lazy if lazy is None else lazy:
            lazily: dict[Hashable, Any] = super().__call__(data, lazy)
            return lazily
        found = dict(data)
        each = zip(self.keys, self.mode, self.padding_mode, self.align_corners, self.dtype, strict=True)
        for key, mode, padding, corners, dtype in each:
            zoom = transforms.Zoom(self.zoomer.zoom, mode=mode, align_corners=corners, dtype=dtype, keep_size=False)
            image = zoom(data[key])
            image = placed(image, data[key], _resizing(data[key], image, mode, corners))
            if self.zoomer.keep_size:
                fit = transforms.ResizeWithPadOrCrop(data[key].shape[1:], mode=padding, **self.zoomer.kwargs)
                image = fit(image)
            found[key] = image
        return found


class Spacingd(transforms.Spacingd):  # type: ignore[misc]  # the library ships no types
    """As `monai.transforms.Spacingd`, but that `recompute_affine` is not followed."""

    def __init__(self, *arguments: Any, recompute_affine: bool = False, **named: Any) -> None:
        del recompute_affine  # it changes no value, only what is known of their place
        super().__init__(*arguments, **named)

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        """The image at another spacing."""
        found: dict[Hashable, Any] = super().__call__(data, lazy)
        if not (self.lazy if lazy is None else lazy):
            for key, mode, corners in zip(self.keys, self.mode, self.align_corners, strict=True):
                if corners and isinstance(mode, int) and not _is_untouched(found[key], data[key]):
                    before, after = (_corners_apart(image.shape[1:]) for image in (data[key], found[key]))
                    wanted = np.linalg.solve(_affine(data[key]), _affine(found[key]))
                    placed(found[key], data[key], before @ wanted @ np.linalg.inv(after))
        return found


def placed(image: MetaTensor, before: MetaTensor, change: Matrix) -> MetaTensor:
    """`image`, at whose index v lies what lay at index `change @ v` of `before`."""
    image.affine = torch.as_tensor(_affine(before) @ change)
    return image


def _affine(image: MetaTensor) -> Matrix:
    return np.asarray(image.affine, np.float64)


def _is_untouched(image: MetaTensor, before: MetaTensor) -> bool:
    return image.shape == before.shape and distance(_affine(image), _affine(before), image.shape[1:]) <= SAME_PLACE


def _resizing(before: MetaTensor, after: MetaTensor, mode: Any, corners: bool | None) -> Matrix:
    name = str(getattr(mode, "value", mode))
    is_linear = "linear" in name

    def resized(ramp: Line, length: int, _axis: int) -> Line:
        found = torch.nn.functional.interpolate(
            torch.from_numpy(ramp)[None, None],
            length,
            mode="linear" if is_linear else name,
            align_corners=corners if is_linear else None,
        )
        return np.asarray(found[0, 0])

    return resizing(before.shape[1:], after.shape[1:], resized, bool(is_linear and corners))


def resizing(
    before: Sequence[int], after: Sequence[int], resized: Callable[[Line, int, int], Line], corners: bool = False
) -> Matrix:
    """Indices (4, 4) of an image before it was resized, for those after.

    The steps are known. The start of an axis is measured: that of the line nearest to the places that the values come from. Where values are
    repeated at the ends, they are off by as much at one end as at the other.

    Args:
        before: Size of the image before.
        after: And after.
        resized: Resizes a ramp to a length, as the image was along an axis.
        corners: Whether the first and last voxels stay where they are, and not the image's borders.
    """
    change = np.eye(4)
    for axis, (old, new) in enumerate(zip(before, after, strict=True)):
        if old != new:
            step = (old - 1) / (new - 1) if corners and min(old, new) > 1 else old / new
            places = resized(np.arange(old, dtype=np.float64), new, axis)
            change[axis, axis], change[axis, 3] = step, (places - step * np.arange(new)).mean()
    return change


def _corners_apart(shape: Sequence[int]) -> Matrix:
    """Indices as MONAI's splines take them with `align_corners`: from centre to centre of the corners, where others go from border to border."""
    lengths = np.maximum(shape, 2)
    change = np.diag([*((lengths - 1) / lengths), 1.0])
    change[:3, 3] = (lengths - 1) / (2 * lengths)
    return change
