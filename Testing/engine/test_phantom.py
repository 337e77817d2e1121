"""The made-up patients are what they claim to be, and the demonstration networks outline them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.metrics import compute_dice
from monai.transforms import Compose, SpatialResample
from phantom import CYST, KIDNEY, TUMOUR, Phantom, phantom
from scipy import ndimage

MODELS = Path(__file__).parents[2] / "SegHiResCAM" / "Resources" / "Models"
BUNDLES = ("kidney-phantom-2d", "kidney-phantom-3d")
SEED = 11


def grid(spacing: float, degrees: tuple[float, float, float] = (0, 0, 0), signs: tuple[int, int, int] = (1, 1, 1)):
    """An affine and shape that cover the upper abdomen."""
    shape = np.round(np.array([384, 288, 232]) / spacing).astype(int)
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        plane = [other for other in range(3) if other != axis]
        one = np.eye(3)
        one[np.ix_(plane, plane)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        turn = one @ turn
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(np.array(signs) * spacing)
    affine[:3, 3] = [0, -4, 4] - affine[:3, :3] @ ((shape - 1) / 2)
    return affine, tuple(int(n) for n in shape)


@pytest.fixture(scope="module")
def an_axial_scan() -> Phantom:
    return phantom(SEED, *grid(4.0), tumours=1, cysts=1)


@pytest.fixture(scope="module")
def an_oblique_left_handed_scan() -> Phantom:
    return phantom(SEED, *grid(4.0, (10, -8, 15), (1, 1, -1)), tumours=1, cysts=1)


@pytest.fixture(scope="module")
def an_unseen_scan() -> Phantom:
    """Made from a seed that no network was trained or tested on; its grid is the seed's own, oblique and left-handed."""
    return phantom(9002, tumours=1, cysts=1)


def points_of(labels: MetaTensor, value: int) -> np.ndarray:
    """Patient points (n, 3) in RAS mm of a label's voxels."""
    indices = np.argwhere(np.asarray(labels)[0] == value)
    affine = np.asarray(labels.affine)
    return indices @ affine[:3, :3].T + affine[:3, 3]


def at_patient_points(volume: MetaTensor, points: np.ndarray) -> np.ndarray:
    affine = np.linalg.inv(np.asarray(volume.affine))
    indices = affine[:3, :3] @ points.T + affine[:3, 3:]
    return ndimage.map_coordinates(np.asarray(volume)[0], indices, order=1, cval=np.nan)


def around(center: tuple[float, float, float], radius: float) -> np.ndarray:
    return np.asarray(center) + np.random.default_rng(0).uniform(-radius, radius, size=(300, 3))


def test_a_seed_makes_the_same_scan_each_time():
    first, second = (phantom(SEED, *grid(8.0)) for _ in range(2))
    assert torch.equal(first.volume.as_tensor(), second.volume.as_tensor())
    assert torch.equal(first.labels.as_tensor(), second.labels.as_tensor())


def test_another_seed_makes_another_patient():
    first, second = (phantom(seed, *grid(8.0)) for seed in (SEED, SEED + 1))
    assert not torch.equal(first.labels.as_tensor(), second.labels.as_tensor())


def test_a_scan_is_float32_in_whole_hounsfield_units_with_the_labels_on_its_grid(an_axial_scan: Phantom):
    volume, labels = an_axial_scan.volume, an_axial_scan.labels
    assert volume.dtype == torch.float32
    assert labels.dtype == torch.uint8
    assert volume.shape == labels.shape == (1, *grid(4.0)[1])
    assert torch.equal(volume.affine, labels.affine)
    assert torch.equal(volume.as_tensor(), volume.as_tensor().round())
    assert volume.min() >= -1024


def test_an_unnamed_grid_is_drawn_from_the_seed(an_unseen_scan: Phantom):
    affine = np.asarray(an_unseen_scan.volume.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    assert np.linalg.det(affine[:3, :3]) < 0
    assert np.count_nonzero(affine[:3, :3]) == 9, "this seed's grid is oblique"
    np.testing.assert_allclose(spacing[:2], spacing[0])
    np.testing.assert_allclose(spacing * an_unseen_scan.volume.shape[1:], [384, 288, 232], atol=2)


def test_a_flipped_and_permuted_grid_with_the_same_voxel_centres_holds_the_same_labels():
    affine, shape = grid(8.0)
    there = np.zeros((4, 4))  # from the other grid's indices to this one's: k flipped, then (i, j, k) -> (k, i, j)
    there[0, 1], there[1, 2], there[2, 0], there[2, 3], there[3, 3] = 1, 1, -1, shape[2] - 1, 1
    one = phantom(SEED, affine, shape).labels.as_tensor()[0]
    other = phantom(SEED, affine @ there, (shape[2], shape[0], shape[1])).labels.as_tensor()[0]
    different = one.flip(2).permute(2, 0, 1) != other
    assert different.sum() <= 2  # centres that lie on a surface but for rounding


@pytest.mark.parametrize("value", [KIDNEY, TUMOUR, CYST])
def test_structures_lie_at_the_same_patient_points_in_an_axial_and_an_oblique_left_handed_grid(
    value: int, an_axial_scan: Phantom, an_oblique_left_handed_scan: Phantom
):
    first, second = (points_of(scan.labels, value) for scan in (an_axial_scan, an_oblique_left_handed_scan))
    np.testing.assert_allclose(first.mean(axis=0), second.mean(axis=0), atol=1.0)
    assert len(first) == pytest.approx(len(second), rel=0.15)


def test_liver_lies_at_the_patients_right_and_the_spine_behind(an_oblique_left_handed_scan: Phantom):
    volume = an_oblique_left_handed_scan.volume
    assert np.linalg.det(np.asarray(volume.affine)[:3, :3]) < 0
    like_liver = [np.abs(at_patient_points(volume, around((side * 75, 10, 45), 30)) - 110) < 40 for side in (1, -1)]
    assert like_liver[0].mean() > 0.5
    assert like_liver[1].mean() < 0.25
    spine, front = (at_patient_points(volume, around((0, y, 0), 18)) for y in (-50, 45))
    assert np.median(spine) > 130 > np.median(front)


def test_one_kidney_lies_on_each_side_and_together_they_weigh_what_kidneys_weigh(an_axial_scan: Phantom):
    points = points_of(an_axial_scan.labels, KIDNEY)
    millilitres = [np.count_nonzero(side * points[:, 0] > 0) * 4.0**3 / 1000 for side in (1, -1)]
    assert all(60 < volume < 260 for volume in millilitres)


@pytest.mark.parametrize(("value", "lowest", "highest"), [(KIDNEY, 110, 225), (TUMOUR, 50, 125), (CYST, -8, 25)])
def test_structures_attenuate_as_after_contrast_agent(
    value: int, lowest: float, highest: float, an_axial_scan: Phantom
):
    inside = np.asarray(an_axial_scan.labels)[0] == value
    depth = ndimage.distance_transform_edt(inside)
    core = np.asarray(an_axial_scan.volume)[0][depth > min(1.5, depth.max() - 0.5)]
    assert lowest < np.median(core) < highest


def test_there_are_as_many_tumours_and_cysts_as_asked_for():
    made = phantom(SEED, *grid(5.0), tumours=2, cysts=0).labels.as_tensor()[0].numpy()
    assert ndimage.label(made == TUMOUR, np.ones((3, 3, 3)))[1] == 2
    assert not (made == CYST).any()


def test_half_a_grid_is_refused():
    with pytest.raises(ValueError, match="both the affine and the shape"):
        phantom(SEED, affine=np.eye(4))


def test_a_singular_affine_is_refused():
    with pytest.raises(ValueError, match="invertible"):
        phantom(SEED, affine=np.zeros((4, 4)), shape=(4, 4, 4))


def test_the_bundles_are_small():
    assert sum(file.stat().st_size for file in MODELS.rglob("*") if file.is_file()) < 4e6


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_reports_the_dice_it_must_reach(name: str):
    metadata = ConfigParser.load_config_file(MODELS / name / "configs" / "metadata.json")
    goals = {"kidney": 0.90, "tumour": 0.75, "cyst": 0.75}
    assert all(metadata["eval_metrics"][f"mean_dice_{structure}"] >= goal for structure, goal in goals.items())
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"]["2"] == "tumour"


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_has_no_code_in_its_configuration(name: str):
    assert "$" not in (MODELS / name / "configs" / "inference.json").read_text()


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundles_weights_load_strictly_and_outline_an_unseen_phantom_with_plain_monai(
    name: str, an_unseen_scan: Phantom
):
    config = ConfigParser()
    config.read_config(MODELS / name / "configs" / "inference.json")
    network = config.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(MODELS / name / "models" / "model.pt", weights_only=True), strict=True)
    preprocessing = Compose(config.get_parsed_content("preprocessing").transforms[2:])  # the scan is in memory already
    scan = an_unseen_scan
    image = preprocessing({"image": scan.volume})["image"]
    with torch.no_grad():
        logits = config.get_parsed_content("inferer")(image[None].as_tensor(), network)
    predicted = SpatialResample(mode="nearest", padding_mode="zeros")(
        MetaTensor(logits.argmax(dim=1).float(), affine=image.affine),
        dst_affine=scan.volume.affine,
        spatial_size=scan.volume.shape[1:],
    )
    dice = [float(compute_dice((predicted == v)[None], (scan.labels == v)[None])) for v in (KIDNEY, TUMOUR, CYST)]
    assert dice[0] >= 0.85
    assert min(dice[1:]) >= 0.5
