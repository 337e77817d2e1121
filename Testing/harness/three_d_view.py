"""The 3D view as 3D Slicer draws it: MRML's own displayable managers, offscreen. Needs OpenGL."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from harness.slice_views import grabbed
from SegHiResCAMLib.scene.headless import HeadlessApplication

MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLVolumeRenderingDisplayableManager",
)


class ThreeDView:
    """The view of the layout's first view node; to be made within `main_window`, and closed."""

    def __init__(self, application: HeadlessApplication, size: tuple[int, int] = (320, 256)) -> None:
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(*size)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._logics: list[Any] = [slicer.vtkSlicerCamerasModuleLogic(), slicer.vtkMRMLViewLogic()]
        application.core.SetModuleLogic("Cameras", self._logics[0])
        if application.core.GetViewLogics() is None:
            application.core.SetViewLogics(vtk.vtkCollection())
        application.core.GetViewLogics().AddItem(self._logics[1])
        for logic in self._logics:
            logic.SetMRMLApplicationLogic(application.core)
            logic.SetMRMLScene(application.scene)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(application.core)
        for manager in MANAGERS:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self._managers = slicer.vtkMRMLDisplayableManagerGroup()
        self._managers.SetRenderer(self._renderer)
        self._managers.Initialize(factory, self._renderer)
        self._managers.SetMRMLDisplayableNode(application.scene.GetFirstNodeByClass("vtkMRMLViewNode"))

    def look_at(self, bounds: list[float]) -> None:
        """Turn to a box, as the view's own button does to all that is in it."""
        self._renderer.ResetCamera(bounds)

    def pixels(self) -> np.ndarray:
        """What is on the screen: (rows, columns, 3) bytes."""
        self._window.Render()
        return grabbed(self._window)

    def close(self) -> None:
        """Let go of the scene."""
        self._managers.SetMRMLDisplayableNode(None)
        self._window.Finalize()
        for logic in reversed(self._logics):
            logic.SetMRMLScene(None)
