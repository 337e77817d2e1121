"""The heat map in the 3D views, which follows a dragged slider when it rests: a cloud takes longer to draw than a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer

from SegHiResCAMLib.scene.appearance import Appearance
from SegHiResCAMLib.scene.heatmap import heatmaps_of
from SegHiResCAMLib.scene.rendering import hide_rendering, is_rendered, show_rendering

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene

_REST_MILLISECONDS = 300


class ThreeD:
    """What the 3D views show of heat maps."""

    def __init__(self) -> None:
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
