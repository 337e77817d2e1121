"""What the user sees of a heat map follows the choices, on MRML's own slice pipeline; its voxels stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slicer
from a_record import a_record

from SegHiResCAMLib.scene.appearance import COLORS, Appearance, apply_appearance
from SegHiResCAMLib.scene.heatmap import add_heatmap, peak_position
from SegHiResCAMLib.scene.per_slice import PER_SLICE, add_per_slice, per_slice, remove_per_slice
from SegHiResCAMLib.scene.rendering import hide_rendering, show_rendering
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.slices import AXIAL, cut, layer_image
from SegHiResCAMLib.scene.volumes import add_volume, volume_array

SHAPE = (20, 20, 6)


@pytest.fixture
def signed(scene: Any) -> Any:
    """For in the left half (+8), against in the right half (-4), nearly nothing (0.1) in between."""
    values = np.full(SHAPE, 0.1, np.float32)
    values[:8], values[12:] = 8, -4
    volume = add_volume(scene, np.zeros(SHAPE, np.float32), np.eye(4), "CT")
    return add_heatmap(scene, values, np.eye(4), a_record("CAM", "kidney"), volume)


def drawn(node: Any, *places: tuple[float, float, float]) -> list[np.ndarray]:
    where = cut(AXIAL, np.array([10.0, 10, 3]), (40, 40), 1.0)
    image = layer_image(node, where)
    pixels = [tuple(map(round, where.pixel(np.array(place))))[::-1] for place in places]
    return [image[pixel] for pixel in pixels]


FOR, BETWEEN, AGAINST = (3, 10, 3), (10, 10, 3), (16, 10, 3)


def test_evidence_against_is_hidden_unless_signs_are_shown(signed: Any) -> None:
    apply_appearance(signed, Appearance(8))
    assert [pixel[3] for pixel in drawn(signed, FOR, BETWEEN, AGAINST)] == [1, 0, 0]
    apply_appearance(signed, Appearance(8, signed=True))
    pro, between, contra = drawn(signed, FOR, BETWEEN, AGAINST)
    assert [pixel[3] for pixel in (pro, between, contra)] == [1, 0, 1]
    assert pro[0] > pro[2]  # red
    assert contra[2] > contra[0]  # blue
    apply_appearance(signed, Appearance(8))
    assert [pixel[3] for pixel in drawn(signed, FOR, BETWEEN, AGAINST)] == [1, 0, 0]


@pytest.mark.parametrize("hidden", [0.1, 0.6])
def test_the_hidden_fraction_hides_both_signs(signed: Any, hidden: float) -> None:
    apply_appearance(signed, Appearance(8, lower_fraction=hidden, signed=True))
    assert [pixel[3] for pixel in drawn(signed, FOR, AGAINST)] == [1, float(hidden < 0.5)]


def test_the_same_value_has_the_same_colour_in_maps_of_one_range(scene: Any, signed: Any) -> None:
    volume = add_volume(scene, np.zeros(SHAPE, np.float32), np.eye(4), "CT")
    other = add_heatmap(scene, np.where(volume_array(signed)[0] == 8, 8, 40), np.eye(4), a_record("B"), volume)
    for node in (signed, other):
        apply_appearance(node, Appearance(40))
    np.testing.assert_array_equal(drawn(signed, FOR)[0], drawn(other, FOR)[0])


@pytest.mark.parametrize("colors", COLORS)
def test_every_colour_map_is_there_and_tells_high_from_low(signed: Any, colors: str) -> None:
    apply_appearance(signed, Appearance(8, colors=colors, lower_fraction=0))
    assert signed.GetDisplayNode().GetColorNode() is not None
    high, low = drawn(signed, FOR, BETWEEN)
    assert np.abs(high[:3] - low[:3]).max() > 0.3


def test_legend_and_interpolation_follow(signed: Any) -> None:
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(signed)
    for shown in (False, True):
        apply_appearance(signed, Appearance(8, legend=shown, interpolate=shown))
        assert bool(legend.GetVisibility()) is shown
        assert bool(signed.GetDisplayNode().GetInterpolate()) is shown


def test_a_signed_map_looks_the_same_in_a_reopened_scene(scene: Any, signed: Any, tmp_path: Any) -> None:
    apply_appearance(signed, Appearance(8, signed=True))
    before = drawn(signed, FOR, BETWEEN, AGAINST)
    save_scene(scene, tmp_path / "scene.mrb")
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    again = scene.GetFirstNodeByName("kidney, CAM")
    np.testing.assert_allclose(drawn(again, FOR, BETWEEN, AGAINST), before, atol=2 / 255)


def test_divided_by_slice_every_slice_reaches_one_and_a_blank_one_stays_blank(scene: Any, affine: np.ndarray) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)
    across = int(np.argmax(np.abs(affine[2, :3]) / np.linalg.norm(affine[:3, :3], axis=0)))
    slices = np.moveaxis(values, across, 0)
    slices *= np.arange(len(slices))[:, None, None]  # the first is blank, the last the strongest
    volume = add_volume(scene, np.zeros(SHAPE, np.float32), affine, "CT")
    heatmap = add_heatmap(scene, values, affine, a_record("CAM"), volume)
    node = add_per_slice(heatmap, per_slice(values, affine, "axial"))
    divided = np.moveaxis(volume_array(node)[0], across, 0)
    assert divided[0].max() == 0
    np.testing.assert_allclose(divided[1:].max(axis=(1, 2)), 1, rtol=1e-6)
    np.testing.assert_allclose(divided[5] * slices[5].max(), np.maximum(slices[5], 0), rtol=1e-5)
    assert heatmap.GetNodeReference(PER_SLICE) is node
    remove_per_slice(heatmap)
    assert heatmap.GetNodeReference(PER_SLICE) is None


def test_in_3d_what_is_hidden_is_transparent_and_the_maximum_is_not(scene: Any, signed: Any) -> None:
    logic = slicer.vtkSlicerVolumeRenderingLogic()
    logic.SetMRMLScene(scene)  # makes the scene know the nodes, as the desktop does
    try:
        display = show_rendering(signed, Appearance(8, lower_fraction=0.25))
        opacity = display.GetVolumePropertyNode().GetVolumeProperty().GetScalarOpacity()
        assert [opacity.GetValue(value) for value in (-4, 0, 2)] == [0, 0, 0]
        assert opacity.GetValue(8) > 0.2
        assert show_rendering(signed, Appearance(8)) is display
        hide_rendering(signed)
        assert not display.GetVisibility()
    finally:
        logic.SetMRMLScene(None)


def test_the_peak_is_found_again_where_the_facts_no_longer_fit(scene: Any) -> None:
    values = np.zeros(SHAPE, np.float32)
    values[3, 4, 5] = 2
    volume = add_volume(scene, values, np.eye(4), "CT")
    node = add_heatmap(scene, values, np.eye(4), a_record(peak_ras_mm=(3.0, 4.0, 5.0)), volume)
    np.testing.assert_array_equal(peak_position(node).position, [3, 4, 5])
    moved = np.eye(4)
    moved[0, 3] = 7  # as when a transform is hardened
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(moved))
    np.testing.assert_array_equal(peak_position(node).position, [10, 4, 5])
