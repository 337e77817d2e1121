from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.volumes import SOFT_TISSUE, add_volume, to_world, volume_array

VOXELS = np.arange(7 * 6 * 5, dtype=np.float32).reshape(7, 6, 5)


def test_voxels_and_affine_come_back_as_they_were(scene, affine):
    array, back = volume_array(add_volume(scene, VOXELS, affine, "volume"))
    np.testing.assert_array_equal(array, VOXELS)
    np.testing.assert_allclose(back, affine, atol=1e-6)


def test_a_voxel_lies_where_the_affine_says(scene, affine):
    node = add_volume(scene, VOXELS, affine, "volume")
    ras_to_ijk = vtk.vtkMatrix4x4()
    node.GetRASToIJKMatrix(ras_to_ijk)
    i, j, k = (round(index) for index in ras_to_ijk.MultiplyPoint([*(affine @ [5, 2, 3, 1])[:3], 1])[:3])
    assert node.GetImageData().GetScalarComponentAsDouble(i, j, k, 0) == VOXELS[5, 2, 3]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "int64", "float16", "float32", "float64", ">i2"])
def test_every_type_of_number_keeps_its_values(scene, dtype):
    voxels = (VOXELS % 100).astype(dtype)
    array, _ = volume_array(add_volume(scene, voxels, np.eye(4), "volume"))
    np.testing.assert_array_equal(array.astype(float), voxels.astype(float))


def test_a_view_of_the_voxels_cannot_be_written_to(scene):
    array, _ = volume_array(add_volume(scene, VOXELS, np.eye(4), "volume"))
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("array", "affine", "message"),
    [
        (np.zeros((2, 3)), np.eye(4), "three axes"),
        (np.zeros((2, 3, 0)), np.eye(4), "at least one voxel"),
        (np.full((2, 2, 2), 2**40), np.eye(4), "do not fit into 32 bits"),
        (np.zeros((2, 2, 2)), np.diag([1, 1, 0, 1]), "invertible"),
        (np.zeros((2, 2, 2)), np.full((4, 4), np.nan), "invertible"),
        (np.zeros((2, 2, 2)), np.eye(3), "invertible"),
    ],
)
def test_what_is_no_volume_is_refused_and_leaves_no_node(scene, array, affine, message):
    before = scene.GetNumberOfNodes()
    with pytest.raises(SceneError, match=message):
        add_volume(scene, array, affine, "volume")
    assert scene.GetNumberOfNodes() == before


def test_a_node_without_voxels_is_told_by_name(scene):
    with pytest.raises(SceneError, match="volume empty has no voxels"):
        volume_array(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))


def test_a_ct_is_shown_in_the_soft_tissue_window(scene):
    display = add_volume(scene, VOXELS - 1000, np.eye(4), "CT").GetDisplayNode()
    assert (display.GetLevel(), display.GetWindow()) == SOFT_TISSUE
    assert not display.GetAutoWindowLevel()


def test_another_image_is_shown_from_its_darkest_to_its_brightest_percent(scene):
    values = np.linspace(0, 1000, 41**3).reshape(41, 41, 41)
    display = add_volume(scene, values, np.eye(4), "MR").GetDisplayNode()
    assert display.GetWindowLevelMin() == pytest.approx(10, abs=5)
    assert display.GetWindowLevelMax() == pytest.approx(990, abs=5)


def test_values_that_are_no_numbers_do_not_spoil_the_window(scene):
    values = np.linspace(0, 1000, 41**3).reshape(41, 41, 41)
    values[:5] = np.nan
    display = add_volume(scene, values, np.eye(4), "MR").GetDisplayNode()
    assert display.GetWindowLevelMax() == pytest.approx(990, abs=5)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_an_image_of_one_value_has_a_window(scene, value):
    display = add_volume(scene, np.full((2, 2, 2), value), np.eye(4), "MR").GetDisplayNode()
    assert display.GetWindow() > 0


def test_a_given_window_is_kept(scene):
    display = add_volume(scene, VOXELS - 1000, np.eye(4), "CT", window=(-600, 1500)).GetDisplayNode()
    assert (display.GetLevel(), display.GetWindow()) == (-600, 1500)


def test_a_volume_lies_under_its_references_transform_and_in_its_folder(scene):
    reference = add_volume(scene, VOXELS, np.eye(4), "CT")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    reference.SetAndObserveTransformNodeID(transform.GetID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "patient")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(reference), folder)
    node = add_volume(scene, VOXELS, np.eye(4), "map", reference=reference)
    assert node.GetTransformNodeID() == transform.GetID()
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder


def test_a_point_goes_through_all_parent_transforms(scene):
    inner, outer = np.diag([1.0, 2.0, 3.0, 1.0]), np.eye(4)
    outer[:3, 3] = (10, 20, 30)
    nodes = [scene.AddNewNodeByClass("vtkMRMLLinearTransformNode") for _ in range(2)]
    for node, matrix in zip(nodes, (inner, outer), strict=True):
        node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    nodes[0].SetAndObserveTransformNodeID(nodes[1].GetID())
    volume = add_volume(scene, VOXELS, np.eye(4), "CT")
    volume.SetAndObserveTransformNodeID(nodes[0].GetID())
    np.testing.assert_allclose(to_world(volume, np.array([1.0, 1.0, 1.0])), [11, 22, 33])
