"""In 3D, the heat map is seen inside the translucent surface of its segmentation, on MRML's own displayable managers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from a_record import a_record
from harness.slice_views import can_draw
from harness.three_d_view import ThreeDView
from harness.views import main_window

from SegHiResCAMLib.scene.appearance import Appearance
from SegHiResCAMLib.scene.headless import HeadlessApplication
from SegHiResCAMLib.scene.heatmap import add_heatmap
from SegHiResCAMLib.scene.rendering import (
    add_surface,
    hide_rendering,
    is_rendered,
    missing_surface,
    show_rendering,
)
from SegHiResCAMLib.scene.segments import Segment, add_segmentation
from SegHiResCAMLib.scene.surfaces import surface_maker
from SegHiResCAMLib.scene.volumes import add_volume

pytestmark = pytest.mark.skipif(not can_draw(), reason="needs OpenGL")

SHAPE = (40, 40, 40)
BOUNDS = [0.0, 40, 0, 40, 0, 40]
AWAY = np.linalg.norm(np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) - 20, axis=-1)


@pytest.fixture
def view(application: HeadlessApplication) -> Iterator[ThreeDView]:
    with main_window(application):
        view = ThreeDView(application)
        yield view
        view.close()


@pytest.fixture
def heatmap(scene: Any, view: ThreeDView) -> Any:
    """A ball of 5 mm, hot in its middle, in an organ of 15 mm."""
    volume = add_volume(scene, np.zeros(SHAPE, np.float32), np.eye(4), "CT")
    labels = (AWAY < 15).astype(np.uint8)
    organ = add_segmentation(scene, labels, np.eye(4), [Segment("organ", 1, (0.2, 0.8, 0.4))], volume)
    values = np.clip(6 - AWAY, 0, None).astype(np.float32)
    node = add_heatmap(scene, values, np.eye(4), a_record("CAM", "organ"), volume, segmentation=organ)
    view.look_at(BOUNDS)
    return node


def surround(heatmap: Any) -> None:
    """Make the surface, as the panel does in a thread."""
    segmentation = missing_surface(heatmap)
    add_surface(segmentation, surface_maker(segmentation)())
    assert missing_surface(heatmap) is None


def middle(picture: np.ndarray) -> np.ndarray:
    rows, columns, _ = picture.shape
    return picture[rows // 2 - 3 : rows // 2 + 3, columns // 2 - 3 : columns // 2 + 3].reshape(-1, 3).mean(axis=0)


def test_the_cloud_is_seen_inside_the_translucent_surface_and_both_go_again(view: ThreeDView, heatmap: Any) -> None:
    empty = view.pixels()
    surround(heatmap)
    show_rendering(heatmap, Appearance(6.0))
    assert is_rendered(heatmap)
    view.look_at(BOUNDS)
    both = view.pixels()
    heatmap.GetNodeReference("SegHiResCAM.segmentation").GetDisplayNode().SetVisibility3D(False)
    cloud = view.pixels()
    of_organ, of_cloud = ((one != other).any(axis=-1).sum() for one, other in ((both, cloud), (cloud, empty)))
    assert of_organ > 3 * of_cloud > 0
    red, green, blue = middle(both)
    assert red > green > 0  # of the cloud's yellow and red, through the organ's green
    assert red > blue
    hide_rendering(heatmap)
    np.testing.assert_array_equal(view.pixels(), empty)


def test_what_the_segmentation_showed_in_3d_before_is_shown_afterwards(heatmap: Any) -> None:
    display = heatmap.GetNodeReference("SegHiResCAM.segmentation").GetDisplayNode()
    display.SetVisibility3D(False)
    display.SetOpacity3D(0.8)
    show_rendering(heatmap, Appearance(6.0))
    assert not display.GetVisibility3D(), "there is no surface yet"
    surround(heatmap)
    for _ in range(2):
        show_rendering(heatmap, Appearance(6.0))
    assert display.GetVisibility3D()
    hide_rendering(heatmap)
    hide_rendering(heatmap)
    assert (bool(display.GetVisibility3D()), display.GetOpacity3D()) == (False, 0.8)
    assert missing_surface(heatmap) is not None, "it was made for this only"


def test_a_surface_that_was_there_before_stays(heatmap: Any) -> None:
    segmentation = missing_surface(heatmap)
    segmentation.CreateClosedSurfaceRepresentation()
    show_rendering(heatmap, Appearance(6.0))
    hide_rendering(heatmap)
    assert missing_surface(heatmap) is None
