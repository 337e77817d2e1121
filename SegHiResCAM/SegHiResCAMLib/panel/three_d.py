"""The heat map in the 3D views, which follows a dragged slider when it rests: a cloud takes longer to draw than a slice.

The surface around it is made in the background, and is there when it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer

from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.scene.appearance import Appearance
from SegHiResCAMLib.scene.heatmap import heatmaps_of
from SegHiResCAMLib.scene.rendering import (
    add_surface,
    hide_rendering,
    is_rendered,
    missing_surface,
    show_rendering,
)
from SegHiResCAMLib.scene.surfaces import Surfaces, drawn, surface_maker

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene, vtkMRMLSegmentationNode

_REST_MILLISECONDS = 300


class ThreeD:
    """What the 3D views show of heat maps.

    Args:
        state: Of the panel.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._making: set[str] = set()  # segmentations
        self._wanted: tuple[vtkMRMLScalarVolumeNode, Appearance] | None = None
        self._paused: list[Any] = []
        self._rest = qt.QTimer()
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MILLISECONDS)
        self._rest.connect("timeout()", self._follow)

    def show(self, heatmap: vtkMRMLScalarVolumeNode, look: Appearance) -> None:
        """Show one heat map: at once and seen whole when it is a new one, otherwise when nothing has changed for a moment."""
        self._wanted = (heatmap, look)
        if is_rendered(heatmap):
            self._pause()
            self._rest.start()
            return
        self._hide_others(heatmap)
        show_rendering(heatmap, look)
        self._make_surface(heatmap)
        qt.QTimer.singleShot(0, _look_at_it)  # once it is there

    def hide(self, scene: vtkMRMLScene) -> None:
        """Take all of them out of the 3D views."""
        self.close()
        for node in heatmaps_of(scene):
            hide_rendering(node)

    def close(self) -> None:
        """Follow nothing more."""
        self._wanted = None
        self._rest.stop()
        self._resume()

    def _follow(self) -> None:
        self._resume()
        if self._wanted is not None and self._wanted[0].GetScene() is not None:
            self._hide_others(self._wanted[0])
            show_rendering(*self._wanted)

    def _make_surface(self, heatmap: vtkMRMLScalarVolumeNode) -> None:
        segmentation = missing_surface(heatmap)
        if segmentation is None or segmentation.GetID() in self._making:
            return
        make, identifier, before = surface_maker(segmentation), segmentation.GetID(), drawn(segmentation)
        if make is None:
            self._surround(segmentation, None)
            return
        self._making.add(identifier)

        def receive(surfaces: Surfaces) -> None:
            self._making.discard(identifier)
            if segmentation.GetScene() is None or self._wanted is None:
                return
            if drawn(segmentation) == before:
                self._surround(segmentation, surfaces)
            else:
                self._make_surface(self._wanted[0])  # it was drawn meanwhile

        explainer = self._state.logic.explainer
        self._state.work.ask(lambda **callbacks: explainer.compute(make, receive, **callbacks), lambda _nothing: None)

    def _surround(self, segmentation: vtkMRMLSegmentationNode, surfaces: Surfaces | None) -> None:
        """Show the surface, unless another heat map is shown by now."""
        if self._wanted is not None and missing_surface(self._wanted[0]) is segmentation:
            add_surface(segmentation, surfaces)
            show_rendering(*self._wanted)

    def _hide_others(self, heatmap: vtkMRMLScalarVolumeNode) -> None:
        for node in heatmaps_of(heatmap.GetScene()):
            if node is not heatmap:
                hide_rendering(node)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = _three_d_views()
            for view in self._paused:
                view.renderEnabled = False

    def _resume(self) -> None:
        paused, self._paused = self._paused, []
        for view in paused:
            view.renderEnabled = True
            view.scheduleRender()


def _three_d_views() -> list[Any]:
    manager = slicer.app.layoutManager()
    count = 0 if manager is None else manager.threeDViewCount
    return [manager.threeDWidget(index).threeDView() for index in range(count)]


def _look_at_it() -> None:
    """Turn the 3D views to what is in them: by themselves they look at the scene's origin, where the patient need not be."""
    manager = slicer.app.layoutManager()
    if manager is not None:
        manager.resetThreeDViews()
