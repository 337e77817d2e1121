"""Surfaces of a segmentation's segments, as MRML makes them, but in a thread: of a whole CT they take longer than an application may stand still."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import vtk

from SegHiResCAMLib.scene.segments import BINARY_LABELMAP, segment_ids

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode, vtkOrientedImageData
    from vtk import vtkPolyData

CLOSED_SURFACE = "Closed surface"  # vtkSegmentationConverter's name of the representation

_USUAL = {"Smoothing factor": 0.5, "Decimation factor": 0.0, "Conversion method": 0.0, "Joint smoothing": 0.0}
"""Parameters of MRML's conversion, and the values by which it does what is done here."""

_ITERATIONS, _PASS_BAND = 40, 0.01
"""Of the smoothing, by that factor: vtkBinaryLabelmapToClosedSurfaceConversionRule of 3D Slicer."""

Surfaces = Mapping[str, "vtkPolyData"]
"""By segment id, in the segmentation's millimetres."""


def has_surfaces(node: vtkMRMLSegmentationNode) -> bool:
    """Whether a segmentation has them."""
    return bool(node.GetSegmentation().ContainsRepresentation(CLOSED_SURFACE))


def drawn(node: vtkMRMLSegmentationNode) -> tuple[tuple[str, int, int], ...]:
    """Changes when a segment is added, removed or drawn."""
    segments = [(name, node.GetSegmentation().GetSegment(name)) for name in segment_ids(node)]
    images = [(name, one.GetLabelValue(), one.GetRepresentation(BINARY_LABELMAP)) for name, one in segments]
    return tuple((name, value, 0 if image is None else image.GetMTime()) for name, value, image in images)


def surface_maker(node: vtkMRMLSegmentationNode) -> Callable[[], Surfaces] | None:
    """What makes the surfaces of all segments, which takes time; it may be called in any thread, and touches no scene.

    Returns:
        None where MRML must make them itself: the segmentation is not stored as voxels, or the user has chosen how they are made.
    """
    segmentation = node.GetSegmentation()
    if segmentation.GetSourceRepresentationName() != BINARY_LABELMAP:
        return None
    chosen = {name: segmentation.GetConversionParameter(name) for name in _USUAL}
    if any(text and float(text) != _USUAL[name] for name, text in chosen.items()):
        return None
    found = {}
    for segment_id in segment_ids(node):
        segment = segmentation.GetSegment(segment_id)
        image = segment.GetRepresentation(BINARY_LABELMAP)
        found[segment_id] = (_voxels(image), _to_world(image), segment.GetLabelValue()) if image is not None else None
    return lambda: {name: vtk.vtkPolyData() if of is None else _surface(*of) for name, of in found.items()}


def add_surfaces(node: vtkMRMLSegmentationNode, surfaces: Surfaces | None) -> None:
    """Give a segmentation its surfaces; by None, or where one is missing by now, MRML makes them here."""
    for segment_id, surface in (surfaces or {}).items():
        segment = node.GetSegmentation().GetSegment(segment_id)
        if segment is not None:
            segment.AddRepresentation(CLOSED_SURFACE, surface)
    node.CreateClosedSurfaceRepresentation()
    node.GetDisplayNode().Modified()


def _voxels(image: vtkOrientedImageData) -> vtk.vtkImageData:
    """An image's voxels, not copied, at their indices."""
    own = vtk.vtkImageData()
    own.SetExtent(image.GetExtent())
    own.GetPointData().SetScalars(image.GetPointData().GetScalars())
    return own


def _to_world(image: vtkOrientedImageData) -> vtk.vtkTransform:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    transform = vtk.vtkTransform()
    transform.SetMatrix(matrix)
    return transform


def _surface(voxels: vtk.vtkImageData, to_world: vtk.vtkTransform, value: int) -> vtkPolyData:
    """Each step leaves Python's lock to others while it computes."""
    if not voxels.GetNumberOfPoints():
        return vtk.vtkPolyData()
    extent = voxels.GetExtent()
    padded = vtk.vtkImageConstantPad()  # or it would be open where a segment reaches the image's border
    padded.SetInputData(voxels)
    padded.SetOutputWholeExtent([end + (1 if index % 2 else -1) for index, end in enumerate(extent)])
    padded.Update()
    edges = vtk.vtkDiscreteFlyingEdges3D()
    edges.SetInputData(padded.GetOutput())
    edges.ComputeGradientsOff()
    edges.ComputeNormalsOff()
    edges.SetValue(0, value)
    edges.Update()
    if not edges.GetOutput().GetNumberOfPolys():
        return vtk.vtkPolyData()
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputData(edges.GetOutput())
    smooth.SetNumberOfIterations(_ITERATIONS)
    smooth.SetPassBand(_PASS_BAND)
    smooth.BoundarySmoothingOff()
    smooth.FeatureEdgeSmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    smooth.Update()
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetInputData(smooth.GetOutput())
    placed.SetTransform(to_world)
    placed.Update()
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(placed.GetOutput())
    normals.ConsistencyOn()
    normals.SplittingOff()
    normals.Update()
    surface: vtkPolyData = normals.GetOutput()
    surface.GetPointData().RemoveArray("ImageScalars")  # or it would be coloured by them
    return surface
