"""Two maps side by side, and everything as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from harness.views import CONVENTIONAL, main_window

from SegHiResCAMLib.scene.comparison import LAYOUT, VIEWS, composite_of, hide_comparison, show_comparison
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.headless import HeadlessApplication
from SegHiResCAMLib.scene.heatmap import add_heatmap
from SegHiResCAMLib.scene.volumes import add_volume

ONES = np.ones((4, 4, 4), np.float32)


@pytest.fixture
def window(application: HeadlessApplication) -> Iterator[None]:
    with main_window(application):
        yield


def maps(scene: Any) -> tuple[Any, list[Any]]:
    volume = add_volume(scene, ONES, np.eye(4), "CT")
    return volume, [add_heatmap(scene, ONES, np.eye(4), {"method": name}, volume) for name in ("A", "B")]


@pytest.mark.usefixtures("window")
def test_each_column_shows_one_map_in_linked_views(scene: Any) -> None:
    volume, (left, right) = maps(scene)
    show_comparison(scene, volume, [left, right], 0.4)
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    assert layout.GetViewArrangement() == LAYOUT
    shown = [composite_of(scene, name) for name in VIEWS]
    assert [view.GetForegroundVolumeID() for view in shown] == [left.GetID(), right.GetID()] * 2
    assert all(view.GetBackgroundVolumeID() == volume.GetID() for view in shown)
    assert all(view.GetLinkedControl() and view.GetForegroundOpacity() == 0.4 for view in shown)
    show_comparison(scene, volume, [right, left], 0.7)
    assert [view.GetForegroundVolumeID() for view in shown] == [right.GetID(), left.GetID()] * 2
    hide_comparison(scene)
    assert layout.GetViewArrangement() == CONVENTIONAL
    hide_comparison(scene)
    assert layout.GetViewArrangement() == CONVENTIONAL


@pytest.mark.usefixtures("window")
def test_who_has_chosen_another_layout_meanwhile_keeps_it(scene: Any) -> None:
    volume, both = maps(scene)
    show_comparison(scene, volume, both, 0.5)
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    layout.SetViewArrangement(6)
    hide_comparison(scene)
    assert layout.GetViewArrangement() == 6


def test_without_views_a_sentence_says_so(scene: Any) -> None:
    if scene.GetFirstNodeByClass("vtkMRMLLayoutNode") is not None:
        scene.RemoveNode(scene.GetFirstNodeByClass("vtkMRMLLayoutNode"))
    volume, both = maps(scene)
    with pytest.raises(SceneError, match="no views to arrange"):
        show_comparison(scene, volume, both, 0.5)
