"""What 3D Slicer's main window and further modules add to a scene: a crosshair, a layout with its views, markups, volume rendering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import slicer

from SegHiResCAMLib.scene.headless import HeadlessApplication

CONVENTIONAL = 2
"""MRML's number of the layout that 3D Slicer starts with."""


@contextmanager
def main_window(application: HeadlessApplication) -> Iterator[None]:
    """Add it all, and take it away."""
    scene = application.scene
    logics = [slicer.vtkSlicerMarkupsLogic(), slicer.vtkSlicerVolumeRenderingLogic()]
    for logic in logics:
        logic.SetMRMLApplicationLogic(application.core)
        logic.SetMRMLScene(scene)
    window = _Window(application)
    try:
        yield
    finally:
        window.close()
        for logic in reversed(logics):
            logic.SetMRMLScene(None)


class _Window:
    """Makes the views that the layout asks for, as the layout manager does."""

    def __init__(self, application: HeadlessApplication) -> None:
        self._application = application
        self._views: list[Any] = []
        self._scene = application.scene
        self._observers = [
            self._scene.AddObserver(self._scene.EndCloseEvent, lambda *_: self._furnish()),
        ]
        self._furnish()

    def close(self) -> None:
        for observer in self._observers:
            self._scene.RemoveObserver(observer)
        self._layout_logic.SetMRMLScene(None)
        for view in self._views:
            view.SetMRMLScene(None)

    def _furnish(self) -> None:
        if self._scene.GetFirstNodeByClass("vtkMRMLCrosshairNode") is None:
            crosshair = slicer.vtkMRMLCrosshairNode()
            crosshair.SetCrosshairName("default")
            self._scene.AddNode(crosshair)
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(self._scene)
        layout = self._layout_logic.GetLayoutNode()
        layout.AddObserver("ModifiedEvent", lambda *_: self._make_views())
        layout.SetViewArrangement(CONVENTIONAL)

    def _make_views(self) -> None:
        collection = self._layout_logic.GetViewNodes()
        nodes = [collection.GetItemAsObject(index) for index in range(collection.GetNumberOfItems())]
        for node in nodes:
            if node.IsA("vtkMRMLSliceNode") and not self._has_logic(node):
                logic = slicer.vtkMRMLSliceLogic()
                logic.SetMRMLApplicationLogic(self._application.core)
                self._application.core.GetSliceLogics().AddItem(logic)
                logic.SetMRMLScene(self._scene)
                logic.SetSliceNode(node)
                self._views.append(logic)

    def _has_logic(self, node: Any) -> bool:
        logics = [*self._application.slice_logics.values(), *self._views]
        return any(logic.GetSliceNode() is node for logic in logics)
