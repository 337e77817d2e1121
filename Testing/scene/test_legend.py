"""The legend in a view is that of the map which the view shows, on MRML's own displayable managers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from a_record import a_record
from harness.slice_views import Legend, can_draw
from harness.views import MainWindow, main_window

from SegHiResCAMLib.scene.appearance import Appearance, apply_appearance
from SegHiResCAMLib.scene.comparison import LEGEND_VIEWS, comparison_views, hide_comparison, show_comparison
from SegHiResCAMLib.scene.headless import HeadlessApplication
from SegHiResCAMLib.scene.heatmap import add_heatmap, set_display_range
from SegHiResCAMLib.scene.legend import CORNERS, legend_of, place_legend
from SegHiResCAMLib.scene.overlay import hide_overlay, show_overlay, show_volume, views_showing
from SegHiResCAMLib.scene.per_slice import add_per_slice, per_slice
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.volumes import add_volume, volume_array

SHAPE = (40, 40, 40)
KIDNEY, TUMOUR = Legend("kidney\nlogits", 0, 57.3), Legend("tumour\nlogits", 0, 245)


@pytest.fixture
def window(application: HeadlessApplication) -> Iterator[MainWindow]:
    with main_window(application) as window:
        yield window
        hide_comparison(application.scene)


@pytest.fixture
def volume(scene: Any) -> Any:
    node = add_volume(scene, np.zeros(SHAPE, np.float32), np.eye(4), "CT")
    show_volume(scene, node)  # as 3D Slicer does when it loads one
    return node


def a_map(volume: Any, legend: Legend) -> Any:
    values = np.full(SHAPE, legend.highest, np.float32)
    record = a_record("Seg-HiRes-Grad CAM", legend.title.partition("\n")[0], units="logit units")
    return add_heatmap(volume.GetScene(), values, np.eye(4), record, volume)


def drawn(window: MainWindow) -> list[list[Legend]]:
    return [view.legends() for view in window.views.values()]


def test_the_first_map_has_its_legend_at_once_and_the_second_one_its_own(
    scene: Any, window: MainWindow, volume: Any
) -> None:
    assert drawn(window) == [[], [], []]
    show_overlay(scene, volume, a_map(volume, KIDNEY))
    assert drawn(window) == [[KIDNEY]] * 3
    show_overlay(scene, volume, a_map(volume, TUMOUR))
    assert drawn(window) == [[TUMOUR]] * 3
    hide_overlay(scene)
    assert drawn(window) == [[], [], []]


def test_side_by_side_each_column_has_the_legend_of_its_map_in_one_view(
    scene: Any, window: MainWindow, volume: Any
) -> None:
    both = [a_map(volume, KIDNEY), a_map(volume, TUMOUR)]
    show_overlay(scene, volume, both[0])
    show_comparison(scene, volume, both, 0.5)
    assert drawn(window) == [[KIDNEY], [TUMOUR]] * 2
    for node, view in zip(both, LEGEND_VIEWS, strict=True):
        apply_appearance(node, Appearance(node.GetDisplayNode().GetWindowLevelMax()), comparison_views(scene, [view]))
    assert drawn(window) == [[KIDNEY], [TUMOUR], [], []]
    show_comparison(scene, volume, both[::-1], 0.5)
    for node, view in zip(both[::-1], LEGEND_VIEWS, strict=True):
        apply_appearance(node, Appearance(node.GetDisplayNode().GetWindowLevelMax()), comparison_views(scene, [view]))
    assert drawn(window) == [[TUMOUR], [KIDNEY], [], []]
    hide_comparison(scene)
    apply_appearance(both[0], Appearance(57.3))
    assert drawn(window) == [[KIDNEY]] * 3


def test_the_legend_follows_the_range(scene: Any, window: MainWindow, volume: Any) -> None:
    node = a_map(volume, KIDNEY)
    show_overlay(scene, volume, node)
    set_display_range(node, 100)
    assert drawn(window) == [[Legend(KIDNEY.title, 0, 100)]] * 3
    companion = add_per_slice(node, per_slice(*volume_array(node), "axial"))
    show_overlay(scene, volume, companion)
    assert drawn(window) == [[Legend("kidney\nshare of each slice's maximum", 0, 1)]] * 3


def test_a_hidden_legend_is_not_drawn(scene: Any, window: MainWindow, volume: Any) -> None:
    node = a_map(volume, KIDNEY)
    show_overlay(scene, volume, node)
    apply_appearance(node, Appearance(57.3, legend=False))
    assert drawn(window) == [[], [], []]


@pytest.mark.parametrize("upper", [471.2345, 0.0364123, 8183.77, 3.21e-6, 1.9e5])
def test_a_saved_range_starts_at_0_again(scene: Any, volume: Any, upper: float, tmp_path: Any) -> None:
    set_display_range(a_map(volume, KIDNEY), upper)
    save_scene(scene, tmp_path / "scene.mrb")
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    display = scene.GetFirstNodeByName("kidney, Seg-HiRes-Grad CAM").GetDisplayNode()
    assert display.GetWindowLevelMin() == 0
    assert display.GetWindowLevelMax() == pytest.approx(upper, rel=1e-5)


@pytest.mark.parametrize(("upper", "written"), [(0.0364, "0.0364"), (57.31, "57.3"), (245.2, "245"), (8183.7, "8184")])
def test_numbers_are_plain(volume: Any, upper: float, written: str) -> None:
    node = a_map(volume, Legend("kidney", 0, upper))
    assert legend_of(node).GetLabelFormat() % upper == written


@pytest.mark.parametrize("free", range(len(CORNERS)))
def test_the_legend_is_where_it_covers_no_anatomy(scene: Any, window: MainWindow, free: int) -> None:
    """A body that fills the image but for one corner of the axial view; the patient's left is on the screen's right."""
    body = np.full(SHAPE, 40, np.int16)
    right, top = CORNERS[free][0] > 0.5, CORNERS[free][1] > 0.5
    body[slice(20, None) if not right else slice(20), slice(20, None) if top else slice(20)] = -1000
    volume = add_volume(scene, body, np.eye(4), "CT")
    node = add_heatmap(scene, np.ones(SHAPE, np.float32), np.eye(4), a_record("CAM", "kidney"), volume)
    show_overlay(scene, volume, node)
    red = window.views["Red"]
    red.logic.FitSliceToBackground()
    place_legend(node, volume, [red.logic.GetSliceNode()])
    assert legend_of(node).GetPosition() == CORNERS[free]
    assert len(views_showing(scene, node)) == 3


@pytest.mark.skipif(not can_draw(), reason="needs OpenGL")
def test_the_legend_is_small_and_stays_in_its_corner(scene: Any, window: MainWindow, volume: Any) -> None:
    node = a_map(volume, TUMOUR)
    show_overlay(scene, volume, node, opacity=0)
    red = window.views["Red"]
    with_legend = red.pixels()
    legend_of(node).SetVisibility(False)
    changed = np.argwhere((with_legend != red.pixels()).any(axis=-1))
    rows, columns = with_legend.shape[:2]
    assert changed.size
    assert changed[:, 0].max() < 0.36 * rows
    assert changed[:, 1].min() > 0.75 * columns
