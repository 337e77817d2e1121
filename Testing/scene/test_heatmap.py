from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slicer
import vtk
from a_record import a_record

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import (
    INFERNO,
    INPUT_VOLUME,
    MEASUREMENTS,
    SEGMENTATION,
    add_deviation,
    add_heatmap,
    explanation_of,
    peak_position,
    remove_heatmap,
    set_display_range,
)
from SegHiResCAMLib.scene.segments import Segment, add_segmentation
from SegHiResCAMLib.scene.volumes import add_volume, image_of, volume_array

SHAPE = (7, 6, 5)
RECORD = a_record("Seg-HiRes-Grad CAM", "kidney", "kits-unet", score=12.5)


def _map(peak: float = 20.0) -> np.ndarray:
    values = np.random.default_rng(0).uniform(0, 0.9 * abs(peak), SHAPE).astype(np.float32)
    values[5, 2, 3] = peak
    return values


def _add(scene, array, affine=None, **options):
    affine = np.eye(4) if affine is None else affine
    volume = add_volume(scene, np.zeros(SHAPE, np.float32), affine, "CT")
    return add_heatmap(scene, array, affine, RECORD, volume, **options), volume


def test_a_map_keeps_its_raw_values_and_its_grid(scene, affine):
    node, _ = _add(scene, _map(), affine)
    array, back = volume_array(node)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, _map())
    np.testing.assert_allclose(back, affine, atol=1e-6)


@pytest.mark.parametrize("peak", [3.2e-6, 1.0, 4.7e5])
def test_colors_run_from_zero_to_the_maps_own_maximum(scene, peak):
    display = _add(scene, _map(peak))[0].GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert display.GetWindowLevelMin() == pytest.approx(0, abs=1e-9 * peak)
    assert display.GetWindowLevelMax() == pytest.approx(peak)
    assert display.GetColorNodeID() == INFERNO


def test_low_values_are_hidden_and_the_peak_is_not(scene):
    display = _add(scene, _map(20.0), lower_fraction=0.25)[0].GetDisplayNode()
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(5.0)
    assert display.GetUpperThreshold() > 20.0


def test_two_maps_can_be_given_one_range(scene):
    node, _ = _add(scene, _map(20.0))
    set_display_range(node, 5.0, 0.1)
    display = node.GetDisplayNode()
    assert display.GetWindowLevelMax() == pytest.approx(5.0)
    assert display.GetLowerThreshold() == pytest.approx(0.5)
    assert display.GetUpperThreshold() > 20.0


@pytest.mark.parametrize("array", [np.zeros(SHAPE), np.full(SHAPE, -3.0)], ids=["zero", "negative"])
def test_a_map_that_is_nowhere_above_zero_has_the_range_zero_to_one_and_its_peak_in_the_middle(scene, array):
    node, _ = _add(scene, array)
    assert node.GetDisplayNode().GetWindowLevelMax() == 1.0
    assert explanation_of(node).maximum == 0
    assert peak_position(node).value == 0.0
    np.testing.assert_allclose(peak_position(node).position, [3, 2.5, 2])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_with_values_that_are_no_numbers_is_refused(scene, value):
    array = _map()
    array[0, 0, 0] = value
    with pytest.raises(SceneError, match="NaN or infinite"):
        _add(scene, array)


def test_a_map_is_named_by_segment_method_and_model_and_never_twice(scene):
    names = [_add(scene, _map())[0].GetName() for _ in range(3)]
    assert names == [f"kidney, Seg-HiRes-Grad CAM, kits-unet{number}" for number in ("", " (2)", " (3)")]


def test_the_record_comes_back_with_the_maximum(scene):
    node, volume = _add(scene, _map(20.0))
    assert explanation_of(node) == replace(RECORD, maximum=20.0)
    assert explanation_of(volume) is None


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}", '{"schemaVersion": 2}', '{"schemaVersion": 99}', "[" * 10**5])
def test_a_record_that_cannot_be_read_leaves_a_heat_map_of_its_method(scene, broken):
    node, _ = _add(scene, _map(20.0))
    node.SetAttribute("SegHiResCAM.explanation", broken)
    assert explanation_of(node).method in ("Seg-HiRes-Grad CAM", "")
    assert peak_position(node).value == 20.0


def test_a_map_refers_to_what_it_explains(scene):
    volume = add_volume(scene, np.zeros(SHAPE, np.float32), np.eye(4), "CT")
    kidney = Segment("kidney", 1, (1, 0, 0))
    segmentation = add_segmentation(scene, np.ones(SHAPE, int), np.eye(4), [kidney], volume)
    node = add_heatmap(scene, _map(), np.eye(4), RECORD, volume, segmentation=segmentation)
    assert node.GetNodeReference(INPUT_VOLUME) is volume
    assert node.GetNodeReference(SEGMENTATION) is segmentation


def test_the_peak_is_where_the_affine_and_the_parent_transform_put_it(scene, affine):
    node, _ = _add(scene, _map(20.0), affine)
    moved = np.diag([1.0, -1.0, 2.0, 1.0])
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    node.SetAndObserveTransformNodeID(transform.GetID())
    peak = peak_position(node)
    assert peak.value == 20.0
    np.testing.assert_allclose(peak.position, (moved @ affine @ [5, 2, 3, 1])[:3])


def test_the_legend_names_segment_and_unit_and_writes_any_magnitude(scene):
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(_add(scene, _map())[0])
    assert legend.GetTitleText() == "kidney\nlogits"
    assert legend.GetLabelFormat() == "%.3g"
    assert legend.GetVisibility()


def test_what_goes_with_the_volume_is_not_removed_again(scene, capfd):
    """In the desktop, the subject hierarchy removes a volume's legend with it."""
    node, _ = _add(scene, _map())
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(node)
    calls = []

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def with_it(_scene, _event, removed):
        calls.append(removed)
        if removed is node:
            scene.RemoveNode(legend)

    observer = scene.AddObserver(scene.NodeRemovedEvent, with_it)
    remove_heatmap(node)
    scene.RemoveObserver(observer)
    assert calls.count(legend) == 1
    assert legend.GetScene() is None
    assert "Invalid scene" not in capfd.readouterr().err


def test_a_removed_map_leaves_nothing_behind(scene):
    volume = add_volume(scene, np.zeros(SHAPE, np.float32), np.eye(4), "CT")
    before = scene.GetNumberOfNodes()
    node = add_heatmap(scene, _map(), np.eye(4), RECORD, volume)
    table = scene.AddNewNodeByClass("vtkMRMLTableNode")
    node.SetNodeReferenceID(MEASUREMENTS, table.GetID())
    add_deviation(node, image_of(_map()))
    remove_heatmap(node)
    assert scene.GetNumberOfNodes() == before


def test_a_standard_deviation_lies_where_its_heat_map_does(scene):
    affine = np.array([[0, -2.0, 0, 3], [1.5, 0, 0.2, 4], [0, 0, -4, 5], [0, 0, 0, 1]])
    volume = add_volume(scene, np.zeros(SHAPE, np.float32), affine, "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    node = add_heatmap(scene, _map(), affine, RECORD, volume)
    spread = np.random.default_rng(0).random(SHAPE, np.float32)
    deviation = add_deviation(node, image_of(spread))
    values, where = volume_array(deviation)
    assert np.array_equal(values, spread)
    assert np.array_equal(where, affine)
    assert deviation.GetTransformNodeID() == transform.GetID()
    assert deviation.GetName() == f"{node.GetName()}, standard deviation"
