from __future__ import annotations

import numpy as np
import pytest
import slicer
from a_record import a_record
from vtk.util.numpy_support import vtk_to_numpy

from SegHiResCAMLib.scene.heatmap import add_heatmap, peak_position
from SegHiResCAMLib.scene.overlay import jump_slices, show_overlay
from SegHiResCAMLib.scene.slices import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    VIEWS,
    body_box,
    body_search,
    cut,
    layer_image,
    mask_image,
    voxel_transform,
)
from SegHiResCAMLib.scene.volumes import add_volume

SHAPE = (24, 22, 20)
INFERNO_TOP = np.array([252, 255, 164]) / 255  # the table's last colour, as published with matplotlib


def _world(affine):
    """RAS millimetres of every voxel, (i, j, k, 3), and of the volume's centre."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3], affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2) + affine[:3, 3]


def _ball(affine, offset, radius=3.5):
    """A ball's centre, offset from the volume's in RAS millimetres, and a map that is 1 in the middle and falls to 0."""
    points, middle = _world(affine)
    center = middle + offset
    return center, np.clip(1 - np.linalg.norm(points - center, axis=-1) / radius, 0, None).astype(np.float32)


@pytest.fixture
def ct_and_map(scene, affine):
    """A grey CT, and a map with one hot ball to the patient's left, front and head."""
    center, ball = _ball(affine, (-4, 3, 2))
    ct = add_volume(scene, np.full(SHAPE, 40, np.int16), affine, "CT", window=(40, 400))
    return ct, add_heatmap(scene, ball, affine, a_record("test"), ct), center


@pytest.mark.parametrize(
    ("view", "right", "up"),
    [(AXIAL, True, True), (CORONAL, True, True), (SAGITTAL, False, True)],
    ids=lambda v: getattr(v, "name", ""),
)
def test_a_ball_at_the_patients_left_front_and_head_is_on_radiologys_side(ct_and_map, view, right, up):
    ct, heatmap, center = ct_and_map
    middle = body_box(ct, body_search(ct)()).mean(axis=0)
    middle[view.through] = center[view.through]
    rgba = layer_image(heatmap, cut(view, middle, (200, 200), 0.2))
    rows, columns = np.nonzero(rgba[..., 3])
    assert (columns.mean() > 100) == right  # patient's left on the right; anterior on the left in a sagittal slice
    assert (rows.mean() < 100) == up


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_the_peak_is_drawn_hottest_at_its_pixel(ct_and_map, view):
    _, heatmap, center = ct_and_map
    where = cut(view, peak_position(heatmap).position, (200, 200), 0.1)
    rgba = layer_image(heatmap, where)
    column, row = where.pixel(peak_position(heatmap).position)
    np.testing.assert_allclose(rgba[round(row), round(column), :3], INFERNO_TOP, atol=0.03)
    column, row = where.pixel(center)  # the ball's true centre, up to half a voxel beside the highest voxel
    rows, columns = np.nonzero(rgba[..., 3])
    assert np.hypot(rows.mean() - row, columns.mean() - column) * 0.1 < 1.5


def test_a_slice_of_the_map_is_empty_away_from_the_ball(ct_and_map):
    _, heatmap, center = ct_and_map
    assert not layer_image(heatmap, cut(AXIAL, center + np.array([0, 0, 6]), (50, 50), 1.0))[..., 3].any()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_an_image_is_pixel_for_pixel_what_slicers_slice_view_blends(application, ct_and_map, view):
    ct, heatmap, _ = ct_and_map
    name = {"Axial": "Red", "Sagittal": "Yellow", "Coronal": "Green"}[view.name]
    logic = application.slice_logics[name]
    peak = peak_position(heatmap).position
    show_overlay(application.scene, ct, heatmap, opacity=0.5)
    logic.ResizeSliceNode(160, 120)
    logic.FitSliceToBackground()
    jump_slices(application.scene, peak)
    node = logic.GetSliceNode()
    center = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, 3]
    connection = logic.GetImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    blended = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(120, 160, -1)[::-1, :, :3] / 255

    where = cut(view, center, (120, 160), node.GetFieldOfView()[0] / 160)
    under, over = layer_image(ct, where), layer_image(heatmap, where)
    alpha = 0.5 * over[..., 3:]
    inside = under[..., 3] > 0  # Slicer leaves what lies outside the volume to the window's own background
    np.testing.assert_allclose((under * (1 - alpha) + over * alpha)[..., :3][inside], blended[inside], atol=2 / 255)
    assert np.ptp(blended[inside], axis=-1).max() > 0.2  # there is colour to compare


def test_the_background_is_mapped_linearly_by_its_own_window(scene):
    ct = add_volume(scene, np.full(SHAPE, 90, np.int16), np.eye(4), "CT", window=(40, 400))
    where = cut(AXIAL, np.array([12.0, 11.0, 10.0]), (5, 5), 1.0)
    np.testing.assert_allclose(layer_image(ct, where)[..., :3], (90 - -160) / 400, atol=1 / 255)


def test_outside_the_volume_there_is_nothing(scene):
    ct = add_volume(scene, np.full(SHAPE, 90, np.int16), np.eye(4), "CT")
    assert not layer_image(ct, cut(AXIAL, np.array([200.0, 0, 10]), (5, 5), 1.0))[..., 3].any()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_mask_lies_where_the_map_of_the_same_voxels_lies(scene, affine, view):
    center, ball = _ball(affine, (-4, 3, 2))
    ct = add_volume(scene, np.zeros(SHAPE, np.int16), affine, "CT")
    heatmap = add_heatmap(scene, (ball > 0).astype(np.float32), affine, a_record(), ct, lower_fraction=0.5)
    for transform in (None, np.diag([1.0, -1.0, 1.0, 1.0])):
        if transform is not None:
            node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
            node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(transform))
            for volume in (ct, heatmap):
                volume.SetAndObserveTransformNodeID(node.GetID())
            center = transform[:3, :3] @ center
        where = cut(view, center, (120, 120), 0.15)
        mask = mask_image(ball > 0, voxel_transform(ct, where), where.shape) >= 0.5
        assert mask.any()
        assert (mask != (layer_image(heatmap, where)[..., 3] > 0)).mean() < 0.001  # rounding at the very edge


def test_the_bodys_box_leaves_the_air_out(scene, affine):
    ct = np.full(SHAPE, -1000, np.int16)
    ct[5:19, 4:18, 3:17] = 40
    node = add_volume(scene, ct, affine, "CT")
    box = body_box(node, body_search(node)())
    corners = np.array([[i, j, k, 1] for i in (5, 18) for j in (4, 17) for k in (3, 16)]) @ affine.T
    np.testing.assert_allclose(box, [corners[:, :3].min(axis=0), corners[:, :3].max(axis=0)])


def test_drawing_leaves_the_scene_as_it_was(scene):
    ct = add_volume(scene, np.full(SHAPE, 90, np.int16), np.eye(4), "CT")
    before = scene.GetNumberOfNodes()
    where = cut(AXIAL, np.array([12.0, 11.0, 10.0]), (5, 5), 1.0)
    layer_image(ct, where)
    mask_image(np.ones(SHAPE, bool), voxel_transform(ct, where), where.shape)
    assert scene.GetNumberOfNodes() == before


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_the_letters_at_the_edges_are_the_directions_that_slicer_draws_in(view):
    xy_to_ras = slicer.util.arrayFromVTKMatrix(cut(view, np.zeros(3), (10, 10), 1.0).node.GetXYToRAS())
    steps = {"R": [1, 0, 0], "L": [-1, 0, 0], "A": [0, 1, 0], "P": [0, -1, 0], "S": [0, 0, 1], "I": [0, 0, -1]}
    left, right, top, bottom = (np.array(steps[letter]) for letter in view.letters)
    np.testing.assert_allclose(xy_to_ras[:3, 0], right)
    np.testing.assert_allclose(xy_to_ras[:3, 1], top)  # MRML's y goes up
    np.testing.assert_array_equal(left, -right)
    np.testing.assert_array_equal(bottom, -top)
