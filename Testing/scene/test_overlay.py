from __future__ import annotations

import numpy as np
import pytest
from a_record import a_record

from SegHiResCAMLib.scene.heatmap import add_heatmap
from SegHiResCAMLib.scene.overlay import hide_overlay, jump_slices, show_overlay
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.segments import Segment, add_segmentation
from SegHiResCAMLib.scene.volumes import add_volume

ONES = np.ones((7, 6, 5), np.float32)


def _views(scene):
    return [scene.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode") for n in range(3)]


def _shown(scene):
    """All that an overlay may change, as plain values."""
    views = [
        (v.GetBackgroundVolumeID(), v.GetForegroundVolumeID(), v.GetForegroundOpacity(), v.GetCompositing())
        for v in _views(scene)
    ]
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationDisplayNode")
    displays = [scene.GetNthNodeByClass(n, "vtkMRMLSegmentationDisplayNode") for n in range(count)]
    return views, [(bool(d.GetVisibility2DFill()), bool(d.GetVisibility2DOutline())) for d in displays]


@pytest.fixture
def nodes(scene):
    """A CT, an older CT, two maps and two segmentations, the second without outlines."""
    ct = add_volume(scene, ONES, np.eye(4), "CT")
    kidney = [Segment("kidney", 1, (1, 0, 0))]
    organs = [add_segmentation(scene, ONES.astype(int), np.eye(4), kidney, ct) for _ in range(2)]
    organs[1].GetDisplayNode().SetVisibility2DOutline(False)
    maps = [add_heatmap(scene, ONES, np.eye(4), a_record(method), ct) for method in ("first", "second")]
    return ct, add_volume(scene, ONES, np.eye(4), "older CT"), maps, organs


def test_the_map_lies_over_the_image_in_all_three_views_with_all_segments_outlined(scene, nodes):
    ct, _, maps, _ = nodes
    show_overlay(scene, ct, maps[0], opacity=0.4)
    views, displays = _shown(scene)
    assert views == [(ct.GetID(), maps[0].GetID(), 0.4, 0)] * 3
    assert displays == [(False, True)] * 2


def test_empty_views_are_empty_again(scene, nodes):
    ct, _, maps, _ = nodes
    before = _shown(scene)
    assert before[0][0][0] is None
    show_overlay(scene, ct, maps[0])
    hide_overlay(scene)
    assert _shown(scene) == before


def test_what_was_shown_comes_back_after_two_overlays_and_two_hidings(scene, nodes):
    ct, older, maps, _ = nodes
    for view, opacity in zip(_views(scene), (0.1, 0.2, 1.0), strict=True):
        view.SetBackgroundVolumeID(older.GetID())
        view.SetForegroundVolumeID(ct.GetID())
        view.SetForegroundOpacity(opacity)
    before = _shown(scene)
    show_overlay(scene, ct, maps[0])
    show_overlay(scene, ct, maps[1], opacity=0.9)
    assert _shown(scene)[1] == [(False, True)] * 2
    hide_overlay(scene)
    assert _shown(scene) == before
    hide_overlay(scene)
    assert _shown(scene) == before


def test_hiding_without_an_overlay_changes_nothing(scene, nodes):
    _views(scene)[0].SetBackgroundVolumeID(nodes[1].GetID())
    before = _shown(scene)
    hide_overlay(scene)
    assert _shown(scene) == before


def test_a_hidden_segmentation_is_left_alone_and_a_fill_that_the_user_wants_stays(scene, nodes):
    ct, _, maps, organs = nodes
    organs[1].GetDisplayNode().SetVisibility(False)
    show_overlay(scene, ct, maps[0])
    assert _shown(scene)[1] == [(False, True), (True, False)]
    organs[0].GetDisplayNode().SetVisibility2DFill(True)
    organs[0].GetDisplayNode().SetVisibility2DOutline(False)
    show_overlay(scene, ct, maps[0], opacity=0.3)
    hide_overlay(scene)
    assert _shown(scene)[1] == [(True, False)] * 2


def test_layers_that_the_user_has_changed_meanwhile_are_neither_overwritten_nor_put_back(scene, nodes):
    ct, older, maps, _ = nodes
    show_overlay(scene, ct, maps[0])
    red, yellow, _ = _views(scene)
    red.SetForegroundVolumeID(older.GetID())
    yellow.SetBackgroundVolumeID(older.GetID())
    show_overlay(scene, ct, maps[0], opacity=0.9)
    assert (red.GetForegroundVolumeID(), yellow.GetBackgroundVolumeID()) == (older.GetID(), older.GetID())
    assert yellow.GetForegroundOpacity() == 0.9
    hide_overlay(scene)
    assert red.GetForegroundVolumeID() == older.GetID()
    assert yellow.GetForegroundVolumeID() is None


def test_the_next_map_is_shown_in_every_view(scene, nodes):
    ct, older, maps, _ = nodes
    show_overlay(scene, ct, maps[0])
    _views(scene)[0].SetForegroundVolumeID(older.GetID())
    show_overlay(scene, ct, maps[1])
    assert [view.GetForegroundVolumeID() for view in _views(scene)] == [maps[1].GetID()] * 3


def test_a_layer_that_was_removed_meanwhile_is_left_empty(scene, nodes):
    ct, older, maps, _ = nodes
    _views(scene)[0].SetBackgroundVolumeID(older.GetID())
    show_overlay(scene, ct, maps[0])
    scene.RemoveNode(older)
    hide_overlay(scene)
    assert _views(scene)[0].GetBackgroundVolumeID() is None


def test_an_overlay_that_was_saved_with_the_scene_can_be_hidden_after_loading(scene, nodes, tmp_path):
    ct, older, maps, _ = nodes
    for view in _views(scene):
        view.SetBackgroundVolumeID(older.GetID())
    before = _shown(scene)
    show_overlay(scene, ct, maps[0])
    shown = _shown(scene)
    save_scene(scene, tmp_path / "scene.mrb")
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    assert _shown(scene) == shown
    hide_overlay(scene)
    assert _shown(scene) == before


def test_slices_jump_to_the_point_in_every_orientation(scene):
    jump_slices(scene, np.array([-80.0, 33.0, 712.0]))
    offsets = {}
    for number in range(3):
        view = scene.GetNthNodeByClass(number, "vtkMRMLSliceNode")
        offsets[view.GetOrientation()] = [round(view.GetSliceToRAS().GetElement(row, 3), 6) for row in range(3)]
    assert offsets["Sagittal"][0] == -80
    assert offsets["Coronal"][1] == 33
    assert offsets["Axial"][2] == 712
