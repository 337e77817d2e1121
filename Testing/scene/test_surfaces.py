"""Surfaces made in a thread are those that MRML makes itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness.views import main_window
from vtk.util.numpy_support import vtk_to_numpy

from SegHiResCAMLib.scene.headless import HeadlessApplication
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_ids
from SegHiResCAMLib.scene.surfaces import CLOSED_SURFACE, add_surfaces, drawn, has_surfaces, surface_maker
from SegHiResCAMLib.scene.volumes import add_volume

SHAPE = (30, 24, 20)
OBLIQUE = np.array([[-0.8, 0.1, 0.0, 40.0], [0.1, 0.7, 0.2, -30.0], [0.0, -0.2, 2.0, 900.0], [0, 0, 0, 1]])
SEGMENTS = [Segment("organ", 1, (1, 0, 0)), Segment("tumour", 2, (0, 1, 0)), Segment("not found", 3, (0, 0, 1))]


@pytest.fixture
def segmentation(application: HeadlessApplication, scene: Any) -> Any:
    """A ball that the border cuts, another in it, and a segment without voxels."""
    with main_window(application):
        away = np.linalg.norm(np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) - (4, 12, 10), axis=-1)
        labels = (away < 9).astype(np.uint8) + (away < 4)
        volume = add_volume(scene, np.zeros(SHAPE, np.int16), OBLIQUE, "CT")
        yield add_segmentation(scene, labels, OBLIQUE, SEGMENTS, volume)


def points_and_polygons(surface: Any) -> tuple[np.ndarray, np.ndarray]:
    if not surface.GetNumberOfPoints():
        return np.zeros((0, 3)), np.zeros(0)
    polygons = vtk_to_numpy(surface.GetPolys().GetConnectivityArray())
    return vtk_to_numpy(surface.GetPoints().GetData()), polygons


def shown(segmentation: Any) -> list[Any]:
    segments = map(segmentation.GetSegmentation().GetSegment, segment_ids(segmentation))
    return [segment.GetRepresentation(CLOSED_SURFACE) for segment in segments]


def test_they_are_those_of_mrml(segmentation: Any) -> None:
    add_surfaces(segmentation, surface_maker(segmentation)())
    own = [points_and_polygons(one) for one in shown(segmentation)]
    segmentation.RemoveClosedSurfaceRepresentation()
    assert not has_surfaces(segmentation)
    segmentation.CreateClosedSurfaceRepresentation()
    assert [len(points) > 0 for points, _ in own] == [True, True, False]
    for (points, polygons), of_mrml in zip(own, map(points_and_polygons, shown(segmentation)), strict=True):
        np.testing.assert_array_equal(polygons, of_mrml[1])
        np.testing.assert_allclose(points, of_mrml[0], rtol=0, atol=1e-3)  # float32 of a metre: 6e-5


def test_where_the_user_has_chosen_how_mrml_makes_them(segmentation: Any) -> None:
    segmentation.GetSegmentation().SetConversionParameter("Smoothing factor", "0.0")
    assert surface_maker(segmentation) is None
    add_surfaces(segmentation, None)
    assert has_surfaces(segmentation)


def test_what_is_drawn_meanwhile_is_noticed(segmentation: Any) -> None:
    before = drawn(segmentation)
    assert drawn(segmentation) == before
    segmentation.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap").Modified()
    assert drawn(segmentation) != before
    before = drawn(segmentation)
    segmentation.GetSegmentation().RemoveSegment(segment_ids(segmentation)[0])
    assert drawn(segmentation) != before
