"""Brings the slice and 3D views in line with the choices, where these have changed, and takes over what a scene shows that was opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.looks import image_of, look_of
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.three_d import ThreeD
from SegHiResCAMLib.scene.appearance import apply_appearance
from SegHiResCAMLib.scene.comparison import (
    LEGEND_VIEWS,
    comparison_views,
    hide_comparison,
    is_side_by_side,
    prepare_comparison,
    show_comparison,
)
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import INPUT_VOLUME, heatmaps_of
from SegHiResCAMLib.scene.legend import place_legend
from SegHiResCAMLib.scene.overlay import hide_overlay, outlined_displays, show_overlay, views_showing
from SegHiResCAMLib.scene.volumes import show_soft_tissue

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

_LOOK = ("opacity", "lowerFraction", "colorMap", "normalisation", "signed", "interpolate", "legend")
_SWITCHES = ("overlayVisible", "compareViews", "rendering")
_IDLE_MILLISECONDS = 400


class Views:
    """What is shown, and what was shown last."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._shown: Any = None
        self._windowed: str | None = None
        self._three_d = ThreeD(state)
        self._idle = qt.QTimer()
        self._idle.setSingleShot(True)
        self._idle.setInterval(_IDLE_MILLISECONDS)
        self._idle.connect("timeout()", self._prepare)

    def refresh(self) -> None:
        """Show the chosen heat map as chosen; does nothing where nothing has changed."""
        parameters = self._state.parameters
        self._window(parameters.inputVolume)
        wanted = self._wanted()
        if wanted != self._shown:
            self._shown = wanted
            self._show(parameters.heatmap)
        if len(heatmaps_of(slicer.mrmlScene)) > 1:
            self._idle.start()

    def forget(self) -> None:
        """What is shown is not known any more, as after a scene was closed or opened."""
        self._shown = self._windowed = None

    def close(self) -> None:
        """Release the views."""
        self._idle.stop()
        self._three_d.close()

    def let_go(self, parameters: Any) -> None:
        """Take out of the views what is there no more, whether the panel is shown or not."""
        if parameters.heatmap is None or parameters.secondHeatmap is None:
            hide_comparison(slicer.mrmlScene)
        if parameters.heatmap is None:
            hide_overlay(slicer.mrmlScene)

    def layout_changed(self) -> None:
        """Follow the user, who has chosen another layout, or this one in the menu of layouts."""
        parameters = self._state.parameters
        if parameters is None or slicer.mrmlScene.IsBatchProcessing() or not parameters.overlayVisible:
            return
        arranged = is_side_by_side(slicer.mrmlScene)
        if parameters.heatmap is not None and parameters.secondHeatmap is not None:
            parameters.compareViews = arranged
        elif arranged and not self._state.work.name:
            self._state.work.say(_("These views show two heat maps. Choose the second one under Compare with."))

    def _window(self, volume: vtkMRMLScalarVolumeNode | None) -> None:
        """Show a newly chosen CT with the window for soft tissue, in which the anatomy can be seen."""
        chosen = None if volume is None else volume.GetID()
        if chosen != self._windowed:
            self._windowed = chosen
            if volume is not None:
                show_soft_tissue(volume)

    def _wanted(self) -> tuple[Any, ...]:
        parameters = self._state.parameters
        nodes = [parameters.heatmap, parameters.secondHeatmap, image_of(parameters, parameters.heatmap)]
        return (
            *(node and node.GetID() for node in nodes),
            *(getattr(parameters, name) for name in (*_LOOK, *_SWITCHES)),
            *(display.GetID() for display in outlined_displays(slicer.mrmlScene)),
        )

    def _show(self, heatmap: vtkMRMLScalarVolumeNode | None) -> None:
        parameters, scene = self._state.parameters, slicer.mrmlScene
        if heatmap is None or not parameters.overlayVisible:
            self._three_d.hide(scene)
            hide_comparison(scene)
            hide_overlay(scene)
            return
        second = parameters.secondHeatmap if parameters.compareViews else None
        second = None if second is heatmap else second
        self._dress([heatmap] if second is None else [heatmap, second])
        if parameters.rendering:
            self._three_d.show(heatmap, look_of(parameters, heatmap))
        else:
            self._three_d.hide(scene)
        volume = heatmap.GetNodeReference(INPUT_VOLUME) or heatmap
        show_overlay(scene, volume, image_of(parameters, heatmap), parameters.opacity)
        if second is None:
            hide_comparison(scene)
            self._once_shown(lambda: self._place_legends(volume, heatmap))
        else:
            self._compare(volume, [heatmap, second])

    def _dress(self, heatmaps: list[vtkMRMLScalarVolumeNode]) -> None:
        """Make them look as chosen; the legend is in every view of one heat map, and in one of each of two."""
        parameters = self._state.parameters
        for column, node in enumerate(heatmaps):
            views = None
            if len(heatmaps) > 1:
                views = comparison_views(slicer.mrmlScene, LEGEND_VIEWS[column : column + 1])
            apply_appearance(image_of(parameters, node), look_of(parameters, node), views)

    def _compare(self, volume: vtkMRMLScalarVolumeNode, heatmaps: list[vtkMRMLScalarVolumeNode]) -> None:
        parameters = self._state.parameters

        def show() -> None:
            images = [image_of(parameters, node) for node in heatmaps]
            show_comparison(slicer.mrmlScene, volume, images, parameters.opacity)
            self._dress(heatmaps)

        def show_again() -> None:
            show()
            self._place_legends(volume, *heatmaps)

        try:
            show()
            self._once_shown(show_again)  # once more when the new views are laid out
        except SceneError as problem:
            self._state.work.say(problem.message)

    def _place_legends(self, volume: vtkMRMLScalarVolumeNode, *heatmaps: vtkMRMLScalarVolumeNode) -> None:
        for image in (image_of(self._state.parameters, node) for node in heatmaps):
            place_legend(image, volume, views_showing(slicer.mrmlScene, image))

    def _once_shown(self, react: Callable[[], None]) -> None:
        """Do something when 3D Slicer has done what it is asked for now, unless something else is shown by then."""
        wanted = self._shown

        def look() -> None:
            if self._state.parameters is not None and self._shown == wanted:
                react()

        qt.QTimer.singleShot(0, look)

    def _prepare(self) -> None:
        """Make a view for a comparison while the user does nothing else."""
        parameters = self._state.parameters
        if parameters is not None and not self._state.work.name and prepare_comparison(slicer.mrmlScene):
            self._idle.start()
