"""Slice views as 3D Slicer draws them: MRML's own displayable managers, offscreen, with the image under them.

What they show as text can be read without OpenGL; pixels need it (`can_draw`).
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from SegHiResCAMLib.scene.headless import HeadlessApplication

SIZE = (388, 346)
"""Columns and rows of a view in a main window of 1200 x 825 pixels."""

MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
)

_PROBE = "import vtk; w = vtk.vtkRenderWindow(); w.SetOffScreenRendering(1); w.SetSize(8, 8); w.AddRenderer(vtk.vtkRenderer()); w.Render()"


class Legend(NamedTuple):
    """What a legend in a view says: its title, and the range of its colours."""

    title: str
    lowest: float
    highest: float


class SliceView:
    """One view of a slice logic's node.

    Args:
        application: Whose scene is shown.
        logic: The vtkMRMLSliceLogic of the view; it has its slice node.
    """

    def __init__(self, application: HeadlessApplication, logic: Any) -> None:
        self.logic = logic
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(*SIZE)
        self._window.SetNumberOfLayers(2)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        renderers = [vtk.vtkRenderer(), vtk.vtkRenderer()]
        for layer, renderer in enumerate(renderers):
            renderer.SetLayer(layer)
            renderer.GetActiveCamera().ParallelProjectionOn()
            self._window.AddRenderer(renderer)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._image = vtk.vtkActor2D()
        self._image.SetMapper(self._mapper)
        self._image.GetProperty().SetDisplayLocationToBackground()
        self._image.VisibilityOff()
        renderers[0].AddViewProp(self._image)  # before anything else that is flat, or VTK draws fills over nothing
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application.core)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._managers.SetRenderer(renderers[0])
        self._managers.Initialize(factory, renderers[0])
        self._managers.SetMRMLDisplayableNode(logic.GetSliceNode())

    @property
    def name(self) -> str:
        """Red, Green, Yellow, or what its layout calls it."""
        return str(self.logic.GetSliceNode().GetLayoutName())

    def legends(self) -> list[Legend]:
        """Those that are drawn."""
        actors = []
        for renderer in self._window.GetRenderers():
            props = renderer.GetViewProps()
            actors += [props.GetItemAsObject(index) for index in range(props.GetNumberOfItems())]
        bars = [actor for actor in actors if isinstance(actor, vtk.vtkScalarBarActor) and actor.GetVisibility()]
        return [Legend(bar.GetTitle(), *bar.GetLookupTable().GetRange()) for bar in bars]

    def pixels(self) -> np.ndarray:
        """What is on the screen: (rows, columns, 3) bytes."""
        connection = self.logic.GetImageDataConnection()
        self._image.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)
        self._window.Render()
        return grabbed(self._window)

    def close(self) -> None:
        """Let go of the scene."""
        self._managers.SetMRMLDisplayableNode(None)
        self._window.Finalize()


def grabbed(window: Any) -> np.ndarray:
    """What a render window shows: (rows, columns, 3) bytes."""
    grab = vtk.vtkWindowToImageFilter()
    grab.SetInput(window)
    grab.ReadFrontBufferOff()
    grab.ShouldRerenderOff()
    grab.SetInputBufferTypeToRGB()
    grab.Update()
    image = grab.GetOutput()
    columns, rows, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1].copy()


@cache
def can_draw() -> bool:
    """Whether there is OpenGL; without it, the first pixel would end the process."""
    return subprocess.run([sys.executable, "-c", _PROBE], check=False, capture_output=True, timeout=120).returncode == 0
