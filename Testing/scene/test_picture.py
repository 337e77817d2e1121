from __future__ import annotations

import sys

import matplotlib.image
import numpy as np
import pytest
from a_record import a_record

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import add_heatmap, peak_position, set_display_range
from SegHiResCAMLib.scene.panels import body_frame
from SegHiResCAMLib.scene.picture import comparison_picture, slice_picture_steps
from SegHiResCAMLib.scene.segments import Segment, add_segmentation
from SegHiResCAMLib.scene.slices import AXIAL, CORONAL, SAGITTAL, body_search, cut, mask_image, voxel_transform
from SegHiResCAMLib.scene.volumes import add_volume
from SegHiResCAMLib.turns import finish

SHAPE = (40, 34, 28)
GREEN = (0.0, 1.0, 0.0)


@pytest.fixture
def nodes(scene, affine):
    """A grey body in air; to its left and front a segment outlined in green, with a hot ball inside."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    middle = affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + affine[:3, 3]
    distance = np.linalg.norm(points - (middle + np.array([-5, 4, 0])), axis=-1)
    ct = np.full(SHAPE, -1000, np.int16)
    ct[4:-4, 4:-4, 4:-4] = 0
    volume = add_volume(scene, ct, affine, "CT")
    segmentation = add_segmentation(scene, (distance < 6).astype(int), affine, [Segment("kidney", 1, GREEN)], volume)
    values = np.clip(1 - distance / 5, 0, None)
    facts = a_record("Seg-HiRes-Grad CAM", "kidney", "network")
    maps = [add_heatmap(scene, scale * values, affine, facts, volume, segmentation=segmentation) for scale in (1, 1e4)]
    return volume, segmentation, maps


def _read(path):
    return matplotlib.image.imread(path)[..., :3]


def _hot(image):
    """Pixels in the warm half of Inferno: red well above blue and green."""
    red, green, blue = np.moveaxis(image, -1, 0)
    return (red - blue > 0.2) & (red - green > 0.08)


def _green(image):
    red, green, blue = np.moveaxis(image, -1, 0)
    return (green - red > 0.4) & (green - blue > 0.4)


def _panels(image, volume, position):
    """Cut the three panels out of a slice picture, by the widths of the frame."""
    frame = body_frame(volume, body_search(volume)(), position)
    widths = [frame.width(view) for view in (AXIAL, CORONAL, SAGITTAL)]
    scale = sum(widths) / (1500 - 24)
    edges, left = [], 24
    for width in widths:
        edges.append((left, left + round(width / scale)))
        left = edges[-1][1] + 12
    panels = image[88 : image.shape[0] - 148]
    return [panels[:, slice(*edge)] for edge in edges]


@pytest.mark.parametrize("affine", ["permuted", "oblique left-handed", "sheared"], indirect=True)
def test_the_heat_is_at_the_patients_left_and_front_inside_its_outline(nodes, tmp_path):
    volume, segmentation, maps = nodes
    finish(slice_picture_steps(tmp_path / "picture.png", volume, maps[0], segmentation))
    image = _read(tmp_path / "picture.png")
    panels = _panels(image, volume, peak_position(maps[0]).position)
    for panel, right in zip(panels, (True, True, False), strict=True):
        rows, columns = np.nonzero(_hot(panel))
        outline_rows, outline_columns = np.nonzero(_green(panel))
        assert (columns.mean() > panel.shape[1] / 2) == right
        assert outline_rows.min() < rows.min() < rows.max() < outline_rows.max()
        assert outline_columns.min() < columns.min() < columns.max() < outline_columns.max()
    rows, _ = np.nonzero(_hot(panels[0]))
    assert rows.mean() < panels[0].shape[0] / 2  # the patient's front is up in an axial slice


@pytest.mark.parametrize("affine", ["oblique left-handed"], indirect=True)
def test_a_comparison_shows_the_image_alone_first_and_maps_of_any_magnitude_alike(nodes, tmp_path):
    volume, segmentation, maps = nodes
    comparison_picture(tmp_path / "picture.png", volume, maps, segmentation)
    image = _read(tmp_path / "picture.png")
    first, second, third = (image[128:-146, 24 + n * 472 : 24 + n * 472 + 460] for n in range(3))
    assert not _hot(first).any()
    assert _green(first).any()
    assert _hot(second).any()
    np.testing.assert_allclose(second, third, atol=1.5 / 255)  # outlines are drawn at fractions of pixels


@pytest.mark.parametrize("affine", ["oblique"], indirect=True)
def test_maps_that_were_given_one_range_are_compared_in_absolute_terms(nodes, tmp_path):
    volume, segmentation, maps = nodes
    set_display_range(maps[0], 1e4)
    comparison_picture(tmp_path / "picture.png", volume, maps, segmentation)
    image = _read(tmp_path / "picture.png")[128:-146]
    assert not _hot(image[:, 496 : 496 + 460]).any()
    assert _hot(image[:, 968 : 968 + 460]).any()


@pytest.mark.parametrize("affine", ["identity"], indirect=True)
def test_a_map_of_zeros_makes_a_picture_without_heat(scene, nodes, tmp_path):
    volume, segmentation, _ = nodes
    empty = add_heatmap(scene, np.zeros(SHAPE), np.eye(4), a_record("CAM"), volume)
    finish(slice_picture_steps(tmp_path / "picture.png", volume, empty, segmentation))
    assert not _hot(_read(tmp_path / "picture.png")).any()


@pytest.mark.parametrize("affine", ["identity"], indirect=True)
def test_a_picture_without_a_segmentation_or_of_chosen_segments_has_no_other_outline(nodes, tmp_path):
    volume, segmentation, maps = nodes
    for options in ({}, {"segmentation": segmentation, "segments": []}):
        finish(slice_picture_steps(tmp_path / "picture.png", volume, maps[0], **options))
        assert not _green(_read(tmp_path / "picture.png")).any()


@pytest.mark.parametrize("affine", ["identity"], indirect=True)
def test_an_unknown_segment_is_told_and_leaves_no_file(nodes, tmp_path):
    volume, segmentation, maps = nodes
    with pytest.raises(SceneError, match="no segment liver"):
        finish(slice_picture_steps(tmp_path / "picture.png", volume, maps[0], segmentation, segments=["liver"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("affine", ["identity"], indirect=True)
def test_a_missing_matplotlib_is_told_in_a_message(nodes, tmp_path, monkeypatch):
    volume, segmentation, maps = nodes
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SceneError, match="Figures need matplotlib"):
        finish(slice_picture_steps(tmp_path / "picture.png", volume, maps[0], segmentation))


@pytest.mark.parametrize("affine", ["identity"], indirect=True)
def test_a_picture_that_cannot_be_written_is_told_with_its_path(nodes, tmp_path):
    volume, segmentation, maps = nodes
    with pytest.raises(SceneError, match=r"missing/picture\.png cannot be written"):
        finish(slice_picture_steps(tmp_path / "missing" / "picture.png", volume, maps[0], segmentation))


def test_a_long_body_is_cropped_to_square_panels_round_the_point(scene):
    ct = np.full((40, 40, 200), 40, np.int16)
    ct[0] = -1000
    volume = add_volume(scene, ct, np.eye(4), "CT")
    frame = body_frame(volume, body_search(volume)(), np.array([20.0, 20.0, 150.0]))
    extent = frame.upper - frame.lower
    assert extent[2] == pytest.approx(extent[:2].max())
    assert (frame.lower[2] + frame.upper[2]) / 2 == pytest.approx(150)


@pytest.mark.real_data
def test_in_a_real_ct_the_liver_is_on_screen_left_and_the_kidneys_are_behind_it(scene, test_data):
    import nibabel

    image = nibabel.load(test_data / "abdomen-ct" / "example_ct_sm.nii.gz")
    labels = np.asanyarray(nibabel.load(test_data / "abdomen-ct" / "example_seg.nii.gz").dataobj)
    volume = add_volume(scene, np.asanyarray(image.dataobj), image.affine, "CT")
    middle = (image.affine @ [*(np.array(labels.shape) // 2), 1])[:3]
    where = cut(AXIAL, middle, (400, 400), 1.0)
    center = {}
    for name, value in (("spleen", 1), ("right kidney", 2), ("left kidney", 3), ("liver", 5)):
        center[name] = np.argwhere(mask_image(labels == value, voxel_transform(volume, where), where.shape) > 0.5).mean(
            axis=0
        )
    assert center["liver"][1] < 200 < center["spleen"][1]
    assert center["right kidney"][1] < 200 < center["left kidney"][1]
    assert center["right kidney"][0] > center["liver"][0]
