"""What 3D Slicer's main window and further modules add to a scene: a crosshair, a layout with its views, markups, segmentations, volume rendering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import slicer

from harness.slice_views import SIZE, SliceView
from SegHiResCAMLib.scene.headless import HeadlessApplication

CONVENTIONAL = 2
"""MRML's number of the layout that 3D Slicer starts with."""


@contextmanager
def main_window(application: HeadlessApplication) -> Iterator[MainWindow]:
    """Add it all, and take it away."""
    with suppress(ImportError):
        import triton  # noqa: F401 - of PyTorch for CUDA: its LLVM ends the process if that of Mesa, which draws the views, was there before
    scene = application.scene
    logics = [
        slicer.vtkSlicerMarkupsLogic(),
        slicer.vtkSlicerVolumeRenderingLogic(),
        slicer.vtkSlicerSegmentationsModuleLogic(),  # knows how surfaces are made
    ]
    for logic in logics:
        logic.SetMRMLApplicationLogic(application.core)
        logic.SetMRMLScene(scene)
    window = MainWindow(application)
    try:
        yield window
    finally:
        window.close()
        for logic in reversed(logics):
            logic.SetMRMLScene(None)


class MainWindow:
    """Makes the views that the layout asks for, as the layout manager does."""

    def __init__(self, application: HeadlessApplication) -> None:
        self._application = application
        self._logics: list[Any] = []
        self._views = [SliceView(application, logic) for logic in application.slice_logics.values()]
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
            view.close()
        for logic in self._logics:
            logic.SetMRMLScene(None)

    @property
    def views(self) -> dict[str, SliceView]:
        """Those that the layout shows, by name."""
        shown = [node.GetLayoutName() for node in self._view_nodes()]
        return {view.name: view for view in self._views if view.name in shown}

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
        for node in self._view_nodes():
            if not any(view.logic.GetSliceNode() is node for view in self._views):
                logic = slicer.vtkMRMLSliceLogic()
                logic.SetMRMLApplicationLogic(self._application.core)
                self._application.core.GetSliceLogics().AddItem(logic)
                logic.SetMRMLScene(self._scene)
                logic.SetSliceNode(node)
                self._logics.append(logic)
                self._views.append(SliceView(self._application, logic))
        for view in self._views:
            view.logic.ResizeSliceNode(*SIZE)

    def _view_nodes(self) -> list[Any]:
        """The slice views that the layout asks for."""
        collection = self._layout_logic.GetViewNodes()
        nodes = [collection.GetItemAsObject(index) for index in range(collection.GetNumberOfItems())]
        return [node for node in nodes if node.IsA("vtkMRMLSliceNode")]
