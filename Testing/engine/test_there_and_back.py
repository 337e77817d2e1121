"""What goes to a model's grid and back lies where it lay: a ramp on the way there, a ball as a label map, heat map and mask on the way back."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from engine.geometry import AFFINES, ROTATION
from engine.geometry import affine as affine_of
from monai import transforms as monai_transforms
from monai.data import MetaTensor
from torch import nn

from SegHiResCAMLib.engine.inference.preprocessing import onto_model_grid, prepare, restore
from SegHiResCAMLib.engine.models import SegmentationModel, WindowSettings
from SegHiResCAMLib.engine.models.nnunet.crop_and_resample import Resampled
from SegHiResCAMLib.engine.models.nnunet.plans import Resampling
from SegHiResCAMLib.engine.models.transforms import GEOMETRY, build_preprocessing
from SegHiResCAMLib.engine.models.untrusted.resolver import Config

SHAPE = (36, 30, 16)
"""Of a thick-sliced volume with a ball near its middle."""
BESIDE = np.array([[0.3, -0.2, 0.15], [-0.3, 0.2, -0.15]])
"""Voxels by which the middle of each of two balls lies beside the middle of the volume: what sampling makes of one, it does not of all."""
GRIDS = ("anisotropic", "sheared, oblique, left-handed")


def step(name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"{name}d", "keys": "image", **arguments}


# Each transform that a description may name and that changes the grid, with each argument that changes where values lie.
STEPS: dict[str, dict[str, Any]] = {
    "pad": step("BorderPad", spatial_border=[1, 2, 3, 4, 5, 6]),
    "scale crop": step("CenterScaleCrop", roi_scale=[0.9, 0.8, 0.95]),
    "centre crop": step("CenterSpatialCrop", roi_size=[31, 28, -1]),
    "foreground": step("CropForeground", source_key="image", margin=3, allow_smaller=True),
    "foreground, divisible": step("CropForeground", source_key="image", k_divisible=8, allow_smaller=False),
    "divisible": step("DivisiblePad", k=16),
    "divisible at the end": step("DivisiblePad", k=16, method="end"),
    "flip": step("Flip", spatial_axis=[0, 2]),
    "flip all": step("Flip"),
    "RAS": step("Orientation", axcodes="RAS"),
    "SPL": step("Orientation", axcodes="SPL"),
    "closest": step("Orientation", as_closest_canonical=True),
    "smaller": step("Resize", spatial_size=[29, 23, 13], mode="trilinear"),
    "larger": step("Resize", spatial_size=[47, 45, 37], mode="trilinear"),
    "twice": step("Resize", spatial_size=[72, 60, 32], mode="trilinear"),
    "half": step("Resize", spatial_size=[18, 15, 8], mode="trilinear"),
    "area": step("Resize", spatial_size=[29, 23, 33], mode="area"),
    "nearest, smaller": step("Resize", spatial_size=[29, 23, 13], mode="nearest"),
    "nearest, half": step("Resize", spatial_size=[18, 15, 8], mode="nearest"),
    "nearest, larger": step("Resize", spatial_size=[47, 45, 37], mode="nearest"),
    "nearest-exact, half": step("Resize", spatial_size=[18, 15, 8], mode="nearest-exact"),
    "nearest-exact, larger": step("Resize", spatial_size=[47, 45, 37], mode="nearest-exact"),
    "corners": step("Resize", spatial_size=[29, 45, 37], mode="trilinear", align_corners=True),
    "longest": step("Resize", spatial_size=41, size_mode="longest", mode="trilinear"),
    "smoothed": step("Resize", spatial_size=[29, 23, 13], mode="trilinear", anti_aliasing=True),
    "crop or pad": step("ResizeWithPadOrCrop", spatial_size=[33, 41, 20]),
    "quarter turn": step("Rotate90", k=1, spatial_axes=[0, 2]),
    "three quarters": step("Rotate90", k=3, spatial_axes=[0, 1]),
    "spacing": step("Spacing", pixdim=[1.0, 0.8, 2.0], mode="bilinear"),
    "spacing, corners": step("Spacing", pixdim=[0.8, 1.0, 2.9], mode="bilinear", align_corners=True),
    "spacing, extent": step("Spacing", pixdim=[1.0, 0.8, 2.0], mode="bilinear", scale_extent=True),
    "spacing, diagonal": step("Spacing", pixdim=[1.0, 0.8, 2.0], mode="bilinear", diagonal=True),
    "spacing, recomputed": step("Spacing", pixdim=[1.0, 0.8, 2.0], mode="bilinear", recompute_affine=True),
    "spacing, nearest": step("Spacing", pixdim=[1.0, 0.8, 2.0], mode="nearest"),
    "spacing, spline": step("Spacing", pixdim=[1.0, 0.8, 2.0], mode=3, padding_mode="nearest"),
    "spacing, spline, corners": step(
        "Spacing", pixdim=[1.0, 0.8, 2.0], mode=3, padding_mode="nearest", align_corners=True
    ),
    "box": step("SpatialCrop", roi_start=[2, 1, 1], roi_end=[35, 29, 20]),
    "size": step("SpatialPad", spatial_size=[41, -1, 19]),
    "zoom": step("Zoom", zoom=0.8, mode="trilinear"),
    "zoom in": step("Zoom", zoom=[1.1, 1.2, 1.0], mode="trilinear"),
    "zoom, other size": step("Zoom", zoom=[1.3, 0.7, 1.9], mode="trilinear", keep_size=False),
    "zoom, nearest": step("Zoom", zoom=[1.3, 0.7, 1.9], mode="nearest", keep_size=False),
    "zoom, corners": step("Zoom", zoom=[1.3, 0.7, 1.9], mode="trilinear", align_corners=True, keep_size=False),
    "zoom, corners, kept": step("Zoom", zoom=0.8, mode="trilinear", align_corners=True),
}  # fmt: skip
ROUNDS = {name for name in STEPS if "nearest" in name or name == "area"}
"""Whose values lie beside their voxels by up to half a voxel, to one side as often as to the other."""
PAIRS = list(product(
    ["SPL", "spacing", "corners", "nearest, half", "foreground"],
    ["RAS", "larger", "spacing, diagonal", "zoom, nearest", "crop or pad"],
))  # fmt: skip


def model(names: tuple[str, ...], channels: int, **composed: Any) -> SegmentationModel:
    parts = {"preprocessing": {"_target_": "Compose", "transforms": [STEPS[name] for name in names], **composed}}
    return SegmentationModel(
        "Tiny", nn.Identity(), 3, channels, (), "softmax", build_preprocessing(Config(parts, "inference.json"), "preprocessing"),
        WindowSettings(), sha256="0" * 64, source="here",
    )  # fmt: skip


def indices(shape: tuple[int, ...]) -> np.ndarray:
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).astype(np.float64)


def balls() -> torch.Tensor:
    """One a channel: 100 inside, soft over a voxel at its border, so that its centre is where it should be whatever the voxels."""
    radius = [np.linalg.norm((indices(SHAPE) - middle) / (9.5, 8, 4.5), axis=-1) for middle in middles()]
    return torch.as_tensor(100 * np.clip((1 - np.stack(radius)) * 5 + 0.5, 0, 1), dtype=torch.float32)


def middles() -> np.ndarray:
    return (np.array(SHAPE) - 1) / 2 + BESIDE


def apart(found: torch.Tensor) -> np.ndarray:
    """Voxels by which the centres of balls (channels, i, j, k) lie beside where they should, on average."""
    weights = found.numpy().astype(np.float64)[..., None]
    centres = (indices(SHAPE) * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))
    return np.abs((centres - middles()).mean(0))


def test_every_transform_of_geometry_that_is_allowed_is_tried() -> None:
    assert {one["_target_"].removesuffix("d") for one in STEPS.values()} == GEOMETRY


ONE_OR_TWO = [
    *((((name,), grid)) for name in STEPS for grid in GRIDS),
    *((pair, "oblique") for pair in PAIRS),
]


@pytest.mark.parametrize(("names", "grid"), ONE_OR_TWO, ids=str)
def test_balls_come_back_to_their_places_as_label_maps_heat_maps_and_masks(names: tuple[str, ...], grid: str) -> None:
    volume = MetaTensor(balls(), affine=torch.from_numpy(AFFINES[grid]))
    prepared = prepare(model(names, len(BESIDE)), volume)
    ways = {
        "label map": lambda seen, _: restore((seen > 50).short(), prepared, "nearest"),
        "heat map": lambda seen, _: restore(seen, prepared, "linear"),
        "mask": lambda _, ball: restore(onto_model_grid(mask_of(ball, volume), prepared).int(), prepared, "nearest"),
    }
    for kind, way in ways.items():
        found = [way(seen, ball) for seen, ball in zip(prepared.image.as_tensor(), volume.as_tensor(), strict=True)]
        assert all(torch.equal(one.affine, volume.affine) and one.shape[1:] == SHAPE for one in found)
        # What is soft loses hundredths of a voxel by sampling; hard borders, tenths on coarse grids, and none on grids of twice the voxels.
        is_hard = kind != "heat map" or ROUNDS & set(names)
        limit = 0.3 if is_hard and names != ("twice",) else 0.1
        assert (apart(torch.cat([one.as_tensor() for one in found])) < limit).all(), kind


def mask_of(ball: torch.Tensor, volume: MetaTensor) -> MetaTensor:
    return MetaTensor((ball > 50)[None], affine=volume.affine)


@pytest.mark.parametrize(
    ("names", "grid", "lazy"),
    [(names, grid, len(names) == 2) for names, grid in ONE_OR_TWO if grid != "anisotropic"],
    ids=str,
)
def test_the_affine_of_the_models_grid_says_where_its_values_lie(names: tuple[str, ...], grid: str, lazy: bool) -> None:
    """The volume's three channels hold its indices, so that what the model gets says where it comes from."""
    affine = AFFINES[grid]
    ramps = torch.as_tensor(np.moveaxis(indices(SHAPE), -1, 0) + 100, dtype=torch.float32)
    image = prepare(model(names, 3, lazy=lazy), MetaTensor(ramps, affine=torch.from_numpy(affine))).image
    there = np.linalg.solve(affine, image.affine.numpy())
    expected = indices(tuple(image.shape[1:])) @ there[:3, :3].T + there[:3, 3]
    inside = ((expected >= 3) & (expected <= np.array(SHAPE) - 4)).all(-1)
    assert inside.sum() > 100
    off = (np.moveaxis(image.numpy(), 0, -1) - 100 - expected)[inside]
    if lazy or ROUNDS & set(names):
        assert (np.abs(off.mean(0)) < 0.1).all()
    else:
        assert np.abs(off).max() < (0.03 if "spline" in str(names) else 1e-3)  # a spline of a ramp swings at its ends


@pytest.mark.parametrize(
    "name", [name for name in STEPS if STEPS[name]["_target_"] in ("Resized", "Zoomd", "Spacingd")]
)
def test_what_the_network_is_given_is_what_monai_gives_it(name: str) -> None:
    arguments = {key: value for key, value in STEPS[name].items() if key != "_target_"}
    volume = MetaTensor(balls(), affine=torch.from_numpy(AFFINES["oblique"]))
    expected = getattr(monai_transforms, STEPS[name]["_target_"])(**arguments)({"image": volume})["image"]
    assert torch.equal(prepare(model((name,), len(BESIDE)), volume).image.as_tensor(), expected.as_tensor())


@pytest.mark.parametrize("function", ["resample_data_or_seg_to_shape", "resample_torch_fornnunet"])
@pytest.mark.parametrize(
    "spacing", [(1.0, 0.8, 2.0), (1.8, 2.2, 5.0), (0.9, 1.1, 10.0), (0.45, 0.55, 1.25), (0.6, 0.6, 4.0)]
)
@pytest.mark.parametrize("order_z", [0, 1])
def test_the_affine_after_nnunets_resampling_says_where_its_values_lie(
    function: str, spacing: tuple[float, ...], order_z: int
) -> None:
    """Also along a thick-sliced axis, where every location takes the nearest slice and halves are rounded up."""
    affine = affine_of(ROTATION, (0.9, 1.1, 5), (3, -4, 5))
    plans: Any = SimpleNamespace(dims=3, spacing=spacing, resampling=Resampling(function, 3, order_z, None))
    ramps = torch.as_tensor(np.moveaxis(indices(SHAPE), -1, 0), dtype=torch.float32)
    image = Resampled(plans)({"image": MetaTensor(ramps, affine=torch.from_numpy(affine))})["image"]
    there = np.linalg.solve(affine, image.affine.numpy())
    expected = indices(tuple(image.shape[1:])) @ there[:3, :3].T + there[:3, 3]
    inside = ((expected >= 3) & (expected <= np.array(SHAPE) - 4)).all(-1)
    off = (np.moveaxis(image.numpy(), 0, -1) - expected)[inside]
    assert (np.abs(off.mean(0)) < 0.05).all()
