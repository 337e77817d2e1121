"""Slices through the scene's volumes as images, from MRML's own slice pipeline and without OpenGL.

vtkMRMLSliceLayerLogic does for one volume what a slice view does: it reslices through all transforms, windows, colours
and thresholds. It draws on a slice node that is not in the scene, so that no view appears on the desktop.

Images have the row axis first and the top row first. Radiological convention, as in Slicer: the patient's right is on the
image's left in axial and coronal slices, anterior is on the left in sagittal ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from SegHiResCAMLib.scene.volumes import Array, to_world, volume_array

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSliceLayerLogic, vtkMRMLSliceNode
    from vtk import vtkAbstractTransform, vtkImageData

Bounds = list[tuple[int, int]]
"""First and last index along each axis of a volume."""


@dataclass(frozen=True)
class View:
    """One of the three ways to slice a patient.

    Attributes:
        name: For the reader.
        across: RAS axis along the image's rows, 0 to 2.
        up: RAS axis along its columns.
        through: RAS axis across the slice.
        letters: Patient directions at the image's left, right, top and bottom edges.
    """

    name: str
    across: int
    up: int
    through: int
    letters: tuple[str, str, str, str]


AXIAL = View("Axial", 0, 1, 2, ("R", "L", "A", "P"))
CORONAL = View("Coronal", 0, 2, 1, ("R", "L", "S", "I"))
SAGITTAL = View("Sagittal", 1, 2, 0, ("A", "P", "S", "I"))
VIEWS = (AXIAL, CORONAL, SAGITTAL)


@dataclass(frozen=True)
class Slice:
    """A slice as an image: which view, its pixels, and where they lie.

    Attributes:
        view: Axial, coronal or sagittal.
        node: The vtkMRMLSliceNode, in no scene.
        shape: Rows and columns.
        mm_per_pixel: The same along both.
    """

    view: View
    node: vtkMRMLSliceNode
    shape: tuple[int, int]
    mm_per_pixel: float

    def pixel(self, ras: Array) -> tuple[float, float]:
        """Column and row, from the top left pixel's centre, of a point in RAS millimetres projected onto the slice."""
        to_xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(self.node.GetXYToRAS()))
        x, y = (to_xy @ [*ras, 1.0])[:2]
        return float(x), float(self.shape[0] - 1 - y)


def cut(view: View, center: Array, shape: tuple[int, int], mm_per_pixel: float) -> Slice:
    """Place a slice.

    Args:
        view: Axial, coronal or sagittal.
        center: RAS millimetres, (3,), of the image's centre.
        shape: Rows and columns of the image.
        mm_per_pixel: The same along both.
    """
    directions = vtk.vtkMatrix3x3()
    getattr(slicer.vtkMRMLSliceNode, f"Get{view.name}SliceToRASMatrix")(directions)
    slice_to_ras = np.eye(4)
    slice_to_ras[:3, :3] = [[directions.GetElement(row, column) for column in range(3)] for row in range(3)]
    slice_to_ras[:3, 3] = center
    rows, columns = shape
    node = slicer.vtkMRMLSliceNode()
    node.SetDimensions(columns, rows, 1)
    node.SetFieldOfView(columns * mm_per_pixel, rows * mm_per_pixel, mm_per_pixel)
    node.GetSliceToRAS().DeepCopy(slice_to_ras.ravel())
    node.UpdateMatrices()
    return Slice(view, node, shape, mm_per_pixel)


def layer_image(volume: vtkMRMLScalarVolumeNode, where: Slice) -> Array:
    """Show one volume in a slice as the desktop would.

    Args:
        volume: A scalar volume node of a scene, with a display node.
        where: The slice.

    Returns:
        (rows, columns, 4) red, green, blue, alpha, 0 to 1. Alpha is 0 outside the volume and where it is thresholded.
    """
    layer = _layer(volume, where)
    connection = layer.GetImageDataConnection()
    connection.GetProducer().Update()
    rgba = _pixels(connection.GetProducer().GetOutputDataObject(connection.GetIndex())) / 255.0
    layer.SetMRMLScene(None)
    return rgba


def voxel_transform(volume: vtkMRMLScalarVolumeNode, where: Slice) -> vtkAbstractTransform:
    """The very transform that a volume is shown with: from a slice's pixels, from the bottom left, to its voxel indices; a copy."""
    layer, own = _layer(volume, where), vtk.vtkGeneralTransform()
    own.DeepCopy(layer.GetXYToIJKTransform())
    layer.SetMRMLScene(None)
    return own


def mask_image(mask: Array, to_voxels: vtkAbstractTransform, shape: tuple[int, int]) -> Array:
    """Slice a mask; (i, j, k) booleans to (rows, columns) 0 to 1, linear between voxels' centres. It may run in any thread."""
    image = vtk.vtkImageData()
    image.SetDimensions(*mask.shape)
    voxels = mask.ravel(order="F").view(np.uint8)  # no copy of what `segment_array` returns
    image.GetPointData().SetScalars(numpy_to_vtk(voxels))
    rows, columns = shape
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(image)
    reslice.SetResliceTransform(to_voxels)
    reslice.SetInterpolationModeToLinear()
    reslice.SetOutputScalarType(vtk.VTK_FLOAT)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputExtent(0, columns - 1, 0, rows - 1, 0, 0)
    reslice.Update()
    return _pixels(reslice.GetOutput())[..., 0]


def body_search(volume: vtkMRMLScalarVolumeNode) -> Callable[[], Bounds]:
    """What finds the voxels that are brighter than the dark end of the volume's window; it may be called in any thread.

    Rows of voxels that are nearly all dark (under 2 % bright) are air, and are left out.
    """
    array, _ = volume_array(volume)
    volume.CreateDefaultDisplayNodes()  # scripts make volumes without
    display = volume.GetDisplayNode()
    dark = display.GetWindowLevelMin() + 0.05 * display.GetWindow()

    def search() -> Bounds:
        bright = array > dark
        bounds = []
        for axis in range(3):
            share = bright.mean(axis=tuple(other for other in range(3) if other != axis))
            found = np.flatnonzero(share > 0.02)
            bounds.append((int(found[0]), int(found[-1])) if found.size else (0, array.shape[axis] - 1))
        return bounds

    return search


def body_box(volume: vtkMRMLScalarVolumeNode, body: Bounds) -> Array:
    """Place what `body_search` has found in the patient.

    Returns:
        (2, 3) lower and upper corner in RAS millimetres, the parent transforms included.
    """
    affine = volume_array(volume)[1]
    corners = [(i, j, k, 1.0) for i in body[0] for j in body[1] for k in body[2]]
    points = np.array([to_world(volume, (affine @ corner)[:3]) for corner in corners])
    return np.array([points.min(axis=0), points.max(axis=0)])


def _layer(volume: vtkMRMLScalarVolumeNode, where: Slice) -> vtkMRMLSliceLayerLogic:
    layer = slicer.vtkMRMLSliceLayerLogic()
    layer.SetMRMLScene(volume.GetScene())  # first: the display pipeline is set up with the scene's colour nodes
    layer.SetSliceNode(where.node)
    layer.SetVolumeNode(volume)
    return layer


def _pixels(image: vtkImageData) -> Array:
    """VTK's image, whose first row is the bottom one, as (rows, columns, components)."""
    columns, rows, _ = image.GetDimensions()
    pixels: Array = vtk_to_numpy(image.GetPointData().GetScalars())
    return pixels.reshape(rows, columns, -1)[::-1]
