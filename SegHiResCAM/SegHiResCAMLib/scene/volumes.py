"""Volumes between numpy and MRML.

The convention of the room: an array is indexed (i, j, k), as the engine's volumes are (`volume.numpy()[0]`), and travels
with a 4x4 float64 affine from (i, j, k) to RAS millimetres. MRML keeps the same voxels indexed (k, j, i); that order is
used nowhere outside this module. The affine is copied as it is, so left-handed, oblique and sheared grids stay exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import get_vtk_array_type, vtk_to_numpy

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.placement import add_to_hierarchy, place_beside

if TYPE_CHECKING:
    from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode, vtkMRMLScene, vtkMRMLTransformableNode
    from vtk import vtkImageData

Array = np.ndarray[Any, np.dtype[Any]]

SOFT_TISSUE = (40.0, 400.0)  # level and width in HU
_AIR = -500.0  # HU; only CT has values under it

# What VTK has no type for, and what carries its values.
_STAND_INS = {"bool": np.uint8, "float16": np.float32, "int64": np.int32, "uint64": np.uint32}


def add_volume(
    scene: vtkMRMLScene,
    array: Array,
    affine: Array,
    name: str,
    *,
    reference: vtkMRMLTransformableNode | None = None,
    window: tuple[float, float] | None = None,
) -> vtkMRMLScalarVolumeNode:
    """Add a scalar volume to the scene.

    Args:
        scene: The vtkMRMLScene.
        array: (i, j, k) numbers; copied.
        affine: (4, 4) from (i, j, k) to RAS millimetres.
        name: What the node is called.
        reference: A node whose parent transform and folder the new volume shares; None for a volume of its own.
        window: (level, width) that it is shown with; None for soft tissue in a CT (known by its air under -500) and
            the 1st to 99th percentile otherwise.

    Returns:
        The vtkMRMLScalarVolumeNode.

    Raises:
        SceneError: The array is not three-dimensional or empty, its values do not fit, or the affine is singular.
    """
    voxels = _voxels(array)
    matrix = _matrix(affine)
    level, width = window or automatic_window(voxels)
    node: vtkMRMLScalarVolumeNode = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    fill_volume(node, voxels, matrix)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.AutoWindowLevelOff()  # before the window, which it would overwrite
    display.SetWindowLevel(width, level)
    if reference is None:
        add_to_hierarchy(scene, node)
    else:
        place_beside(scene, node, reference)
    return node


def volume_array(node: vtkMRMLNode) -> tuple[Array, Array]:
    """Voxels and geometry of a volume node.

    Returns:
        (i, j, k) read-only view of the node's voxels, and the (4, 4) float64 affine to RAS millimetres, without the
        node's parent transform.

    Raises:
        SceneError: The node is no volume, or has no voxels, or several values in each.
    """
    if not isinstance(node, slicer.vtkMRMLScalarVolumeNode):
        message = f"{node!r} is not a volume. Give a vtkMRMLScalarVolumeNode."
        raise SceneError(message)
    if node.GetImageData() is None or node.GetImageData().GetNumberOfPoints() == 0:
        message = f"The volume {node.GetName()} has no voxels. Load it again."
        raise SceneError(message)
    values = node.GetImageData().GetNumberOfScalarComponents()
    if values != 1:
        message = f"The volume {node.GetName()} has {values} values in each voxel. Convert it with the module Vector to Scalar Volume."
        raise SceneError(message)
    voxels = slicer.util.arrayFromVolume(node).transpose(2, 1, 0)
    voxels.flags.writeable = False
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return voxels, slicer.util.arrayFromVTKMatrix(matrix)


def to_world(node: vtkMRMLTransformableNode, point: Array) -> Array:
    """Map a point from a node's own RAS millimetres through its parent transforms to the scene's; (3,) to (3,)."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, transform)
    return np.array(transform.TransformPoint(np.asarray(point, dtype=float)))


def from_world(node: vtkMRMLTransformableNode, point: Array) -> Array:
    """Map a point from the scene's RAS millimetres to a node's own, under its parent transforms; (3,) to (3,)."""
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, node.GetParentTransformNode(), transform)
    return np.array(transform.TransformPoint(np.asarray(point, dtype=float)))


def automatic_window(array: Array) -> tuple[float, float]:
    """(level, width) to look at voxels with: soft tissue for CT, the 1st to 99th percentile of what is there otherwise."""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if finite.size and float(finite.min()) < _AIR:
        return SOFT_TISSUE
    lower, upper = np.percentile(finite, [1, 99]) if finite.size else (0.0, 0.0)
    if upper <= lower and finite.size:
        lower, upper = float(finite.min()), float(finite.max())
    return float(lower + upper) / 2, float(upper - lower) or 1.0


def show_soft_tissue(node: vtkMRMLScalarVolumeNode) -> None:
    """Show a CT whose window 3D Slicer has chosen, from its table to metal, with that for soft tissue; leaves all other volumes alone."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if node.GetImageData() is None or not display.GetAutoWindowLevel():
        return
    if node.GetImageData().GetScalarRange()[0] < _AIR:
        level, width = SOFT_TISSUE
        display.AutoWindowLevelOff()
        display.SetWindowLevel(width, level)


def fill_volume(node: vtkMRMLScalarVolumeNode, array: Array, affine: Array) -> None:
    """Put (i, j, k) voxels and their affine into any volume node, a label map's too."""
    set_image(node, image_of(array), affine)


def image_of(array: Array) -> vtkImageData:
    """Copy (i, j, k) voxels into a vtkImageData of their own.

    It touches no scene, so it may run in any thread, and holds Python's lock only for moments: with `set_image` a large volume reaches the
    scene without the application standing still.

    Raises:
        SceneError: The array is not three-dimensional or empty, or its values do not fit.
    """
    voxels = _voxels(array)
    scalars = vtk.vtkDataArray.CreateDataArray(get_vtk_array_type(voxels.dtype.newbyteorder("=")))
    scalars.SetNumberOfTuples(voxels.size)
    vtk_to_numpy(scalars).reshape(voxels.shape, order="F")[...] = voxels
    image = vtk.vtkImageData()
    image.SetDimensions(*voxels.shape)
    image.GetPointData().SetScalars(scalars)
    return image


def set_image(node: vtkMRMLScalarVolumeNode, image: vtkImageData, affine: Array) -> None:
    """Give a volume node an image of `image_of`, without copying it, and its affine."""
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(_matrix(affine)))
    node.SetAndObserveImageData(image)


def _voxels(array: Array) -> Array:
    """Give the array a type that VTK has, or a message."""
    array = np.asarray(array)
    if array.ndim != 3 or array.size == 0:
        message = f"A volume has three axes and at least one voxel, but this array has the shape {array.shape}."
        raise SceneError(message)
    stand_in = _STAND_INS.get(array.dtype.name)
    if stand_in is None:
        return array
    narrow = array.astype(stand_in)
    if array.dtype.kind in "iu" and not np.array_equal(narrow, array):
        message = f"The volume's values, {array.min()} to {array.max()}, do not fit into 32 bits. Rescale them."
        raise SceneError(message)
    return narrow


def _matrix(affine: Array) -> Array:
    """Check the affine, or give a message."""
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        message = "The volume's affine is not an invertible 4x4 matrix. Check the file's orientation and spacing."
        raise SceneError(message)
    return matrix
