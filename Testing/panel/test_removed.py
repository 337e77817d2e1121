"""A heat map that somebody removes, in this module or another, leaves nothing behind: no legend, overlay, table, cloud or views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import slicer
from harness.desktop import Desktop
from harness.views import CONVENTIONAL

from panel.steps import choose, choose_model, choose_segment, explain, idle, segment
from SegHiResCAMLib.scene.comparison import LAYOUT, composite_of
from SegHiResCAMLib.scene.heatmap import METHOD

KINDS = (
    "vtkMRMLScalarVolumeNode", "vtkMRMLScalarVolumeDisplayNode", "vtkMRMLColorLegendDisplayNode", "vtkMRMLTableNode",
    "vtkMRMLVolumeRenderingDisplayNode", "vtkMRMLVolumePropertyNode",
)  # fmt: skip


def left(scene: Any) -> dict[str, int]:
    return {kind: scene.GetNumberOfNodesByClass(kind) for kind in KINDS}


@pytest.fixture
def before(desktop: Desktop, scene: Any, a_volume: Any, a_model: Path) -> dict[str, int]:
    """What there is of each kind when everything but a heat map is there."""
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    segment(desktop)
    choose_segment(desktop, "tumour")
    composite_of(scene, "Red").SetBackgroundVolumeID(a_volume.GetID())
    return left(scene)


@pytest.fixture
def heatmaps(desktop: Desktop, before: dict[str, int]) -> list[Any]:
    """Two of them side by side, one in 3D."""
    choose(desktop.ui.compareSelector, "Seg-Grad CAM")
    explain(desktop)
    desktop.ui.renderingCheckBox.click()
    parameters = desktop.widget.panel.state.parameters
    return [parameters.heatmap, parameters.secondHeatmap]


def by_the_scene(node: Any) -> None:
    node.GetScene().RemoveNode(node)


def by_subject_hierarchy(node: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    hierarchy.RemoveItem(hierarchy.GetItemByDataNode(node))


@pytest.mark.parametrize("entered", [True, False], ids=["in this module", "in another"])
@pytest.mark.parametrize("remove", [by_the_scene, by_subject_hierarchy])
def test_removed_heat_maps_leave_nothing_behind(
    desktop: Desktop, scene: Any, a_volume: Any, before: dict[str, int], heatmaps: list[Any], remove: Any, entered: bool
) -> None:
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == LAYOUT
    assert left(scene) != before
    fill = desktop.widget.panel.state.parameters.segmentation.GetDisplayNode()
    assert not fill.GetVisibility2DFill()
    if not entered:
        desktop.widget.panel.exit()
    for node in heatmaps:
        remove(node)
    desktop.qt.APPLICATION.processEvents()
    assert left(scene) == before
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == CONVENTIONAL
    red = composite_of(scene, "Red")
    assert (red.GetBackgroundVolumeID(), red.GetForegroundVolumeID()) == (a_volume.GetID(), None)
    assert fill.GetVisibility2DFill()
    desktop.widget.panel.enter()
    assert desktop.ui.measurementTable.isHidden()
    assert desktop.ui.diagnosesLabel.isHidden()
    assert not desktop.ui.exportButton.enabled


def test_the_other_one_stays_shown(desktop: Desktop, scene: Any, before: dict[str, int], heatmaps: list[Any]) -> None:
    first, second = heatmaps
    by_the_scene(second)
    desktop.qt.APPLICATION.processEvents()
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == CONVENTIONAL
    assert composite_of(scene, "Red").GetForegroundVolumeID() == first.GetID()
    assert scene.GetNumberOfNodesByClass("vtkMRMLColorLegendDisplayNode") == 1
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == before["vtkMRMLTableNode"] + 1


def test_the_map_per_slice_goes_too(desktop: Desktop, scene: Any, before: dict[str, int]) -> None:
    heatmap = explain(desktop)
    choose(desktop.ui.normalisationSelector, "slice")
    idle(desktop)
    by_the_scene(heatmap)
    desktop.qt.APPLICATION.processEvents()
    assert left(scene) == before


def test_a_heat_map_whose_display_is_removed_gets_another(
    desktop: Desktop, scene: Any, before: dict[str, int], heatmaps: list[Any]
) -> None:
    with_both = left(scene)
    scene.RemoveNode(heatmaps[0].GetDisplayNode())
    desktop.ui.thresholdSlider.setValue(0.5)
    desktop.qt.APPLICATION.processEvents()
    assert left(scene) == with_both
    display = heatmaps[0].GetDisplayNode()
    assert display.GetLowerThreshold() == pytest.approx(0.5 * display.GetWindowLevelMax())
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(heatmaps[0])
    assert legend.GetTitleText() == "tumour\nlogits"
    assert composite_of(scene, "Red").GetForegroundVolumeID() == heatmaps[0].GetID()


def test_other_nodes_are_left_alone(desktop: Desktop, scene: Any, before: dict[str, int], heatmaps: list[Any]) -> None:
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Another")
    volume.CreateDefaultDisplayNodes()
    with_both = left(scene)
    scene.RemoveNode(volume)
    desktop.qt.APPLICATION.processEvents()
    with_both["vtkMRMLScalarVolumeNode"] -= 1
    assert left(scene) == with_both
    assert all(node.GetScene() is scene and node.GetAttribute(METHOD) for node in heatmaps)


def test_a_heat_map_whose_file_is_lost_is_a_message(desktop: Desktop, scene: Any) -> None:
    lost = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Lost")
    lost.SetAttribute(METHOD, "Seg-Grad CAM")
    desktop.widget.panel.state.parameters.heatmap = lost
    assert desktop.widget.panel.state.parameters.heatmap is None
    assert desktop.ui.statusLabel.text.startswith("Lost has no voxels")
    assert not desktop.ui.peakButton.enabled
