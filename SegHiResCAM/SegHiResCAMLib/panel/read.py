"""Section 4: look at a heat map, beside another, in 3D, and at what the engine says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.findings import refresh_findings
from SegHiResCAMLib.panel.parameters import RAW, SLICE
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.provenance import METHOD
from SegHiResCAMLib.scene.appearance import Appearance, apply_appearance
from SegHiResCAMLib.scene.comparison import hide_comparison, show_comparison
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import (
    INPUT_VOLUME,
    SEGMENTATION,
    explanation_of,
    heatmap_maximum,
    peak_position,
)
from SegHiResCAMLib.scene.overlay import hide_overlay, jump_slices, show_overlay
from SegHiResCAMLib.scene.per_slice import PER_SLICE, add_per_slice, per_slice, remove_per_slice, slicing_axis
from SegHiResCAMLib.scene.rendering import hide_rendering, show_rendering
from SegHiResCAMLib.scene.volumes import volume_array

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene

_LOOK = ("opacity", "lowerFraction", "colorMap", "normalisation", "signed", "interpolate", "legend")
_SWITCHES = ("overlayVisible", "compareViews", "rendering")


class ReadSection:
    """Brings the views in line with the choices, where these have changed."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._shown: Any = None
        self._dividing: set[str] = set()
        self._rendered = False
        self._opened = False
        ui = state.ui
        for selector in (ui.heatmapSelector, ui.secondSelector):
            selector.addAttribute("vtkMRMLScalarVolumeNode", METHOD)
        ui.peakButton.connect("clicked(bool)", lambda _checked: self._jump_to_peak())

    def refresh(self) -> None:
        """Show the chosen heat map as chosen."""
        parameters, ui = self._state.parameters, self._state.ui
        for name in ("heatmap", "secondHeatmap"):
            self._drop_without_voxels(name)
        heatmap = parameters.heatmap
        two = heatmap is not None and parameters.secondHeatmap is not None
        controls = (
            ui.overlayCheckBox, ui.opacitySlider, ui.thresholdSlider, ui.colorSelector, ui.normalisationSelector,
            ui.signedCheckBox, ui.interpolateCheckBox, ui.legendCheckBox, ui.renderingCheckBox, ui.peakButton,
        )  # fmt: skip
        for control in controls:
            control.enabled = heatmap is not None
        if heatmap is not None and not self._opened:
            ui.readSection.collapsed = False
        self._opened = heatmap is not None
        ui.compareCheckBox.enabled = two and parameters.secondHeatmap is not heatmap
        ui.colorSelector.enabled = heatmap is not None and not self._signed
        ui.signedCheckBox.enabled = heatmap is not None and parameters.normalisation != SLICE
        refresh_findings(ui, heatmap)
        self._divide(heatmap)
        wanted = self._wanted()
        if wanted != self._shown:
            self._shown = wanted
            self._show(heatmap)

    def _drop_without_voxels(self, name: str) -> None:
        """A scene may come without a heat map's file; there is nothing to show of such a one."""
        node = getattr(self._state.parameters, name)
        if node is not None and node.GetImageData() is None:
            setattr(self._state.parameters, name, None)
            self._state.work.say(
                _("{heatmap} has no voxels: its file was not with the scene. Explain again.").format(
                    heatmap=node.GetName()
                )
            )

    def forget(self) -> None:
        """What is shown is not known any more, as after a scene was closed or opened."""
        self._shown = None

    def let_go(self, parameters: Any) -> None:
        """Take out of the views what is there no more, whether the panel is shown or not."""
        if parameters.heatmap is None or parameters.secondHeatmap is None:
            hide_comparison(slicer.mrmlScene)
        if parameters.heatmap is None:
            hide_overlay(slicer.mrmlScene)

    @property
    def _signed(self) -> bool:
        return bool(self._state.parameters.signed and self._state.parameters.normalisation != SLICE)

    def _wanted(self) -> tuple[Any, ...]:
        parameters = self._state.parameters
        nodes = [parameters.heatmap, parameters.secondHeatmap, self._image(parameters.heatmap)]
        return (
            *(node and node.GetID() for node in nodes),
            *(getattr(parameters, name) for name in (*_LOOK, *_SWITCHES)),
        )

    def _show(self, heatmap: vtkMRMLScalarVolumeNode) -> None:
        parameters, scene = self._state.parameters, slicer.mrmlScene
        for node in _heatmaps(scene):
            if node is not heatmap or not parameters.rendering:
                hide_rendering(node)
        if heatmap is None or not parameters.overlayVisible:
            hide_comparison(scene)
            hide_overlay(scene)
            return
        second = parameters.secondHeatmap if parameters.compareViews else None
        for node in (heatmap, second):
            if node is not None:
                apply_appearance(self._image(node), self._look(node))
        if parameters.rendering:
            show_rendering(heatmap, self._look(heatmap))
            if not self._rendered:
                qt.QTimer.singleShot(0, _look_at_it)  # once it is there
        self._rendered = parameters.rendering
        volume = heatmap.GetNodeReference(INPUT_VOLUME) or heatmap
        image = self._image(heatmap)
        show_overlay(scene, volume, image, heatmap.GetNodeReference(SEGMENTATION), parameters.opacity)
        if second is None or second is heatmap:
            hide_comparison(scene)
        else:
            self._compare(volume, [image, self._image(second)])

    def _compare(self, volume: Any, images: list[Any]) -> None:
        wanted = self._shown

        def show() -> None:
            if self._state.parameters is not None and self._shown == wanted:  # and nothing else meanwhile
                show_comparison(slicer.mrmlScene, volume, images, self._state.parameters.opacity)

        try:
            show()
            qt.QTimer.singleShot(0, show)  # once more when the new views are there
        except SceneError as problem:
            self._state.work.say(problem.message)

    def _look(self, node: Any) -> Appearance:
        parameters = self._state.parameters
        image = self._image(node)
        return Appearance(
            upper=1.0 if image is not node else self._upper(node),
            colors=parameters.colorMap,
            lower_fraction=parameters.lowerFraction,
            signed=self._signed,
            interpolate=parameters.interpolate,
            legend=parameters.legend,
        )

    def _upper(self, node: Any) -> float:
        """Of the range: over this map, or over all maps that shall compare. Values of different methods differ by orders of magnitude."""
        parameters = self._state.parameters
        compared = [node]
        if parameters.normalisation == RAW:
            compared = _heatmaps(slicer.mrmlScene)
        elif parameters.compareViews and parameters.secondHeatmap is not None:
            both = [parameters.heatmap, parameters.secondHeatmap]
            compared = both if len({one.GetAttribute(METHOD) for one in both}) == 1 else compared
        return max(self._largest(one) for one in compared) or 1.0

    def _largest(self, node: Any) -> float:
        highest = heatmap_maximum(node)
        record = explanation_of(node)
        return max(highest, -record.minimum) if self._signed and record is not None else highest

    # Every slice up to its own maximum: a companion of the heat map, made in the background

    def _image(self, node: Any) -> Any:
        if node is None or self._state.parameters.normalisation != SLICE:
            return node
        return node.GetNodeReference(PER_SLICE) or node

    def _divide(self, heatmap: vtkMRMLScalarVolumeNode) -> None:
        parameters = self._state.parameters
        second = parameters.secondHeatmap if parameters.compareViews else None
        for node in _heatmaps(slicer.mrmlScene):
            wanted = parameters.normalisation == SLICE and node in (heatmap, second)
            if not wanted and node.GetNodeReference(PER_SLICE) is not None:
                remove_per_slice(node)
            elif wanted and node.GetNodeReference(PER_SLICE) is None and node.GetID() not in self._dividing:
                self._start_dividing(node)

    def _start_dividing(self, node: Any) -> None:
        array, affine = volume_array(node)
        axis, identifier = slicing_axis(node), node.GetID()
        self._dividing.add(identifier)

        def receive(prepared: Any) -> None:
            self._dividing.remove(identifier)
            if node.GetScene() is not None:
                add_per_slice(node, prepared)

        explainer = self._state.logic.explainer
        self._state.work.ask(
            lambda **callbacks: explainer.compute(lambda: per_slice(array, affine, axis), receive, **callbacks),
            lambda _nothing: self._state.refresh(),
        )

    def _jump_to_peak(self) -> None:
        jump_slices(slicer.mrmlScene, peak_position(self._state.parameters.heatmap).position)


def _look_at_it() -> None:
    """Turn the 3D views to what is in them: by themselves they look at the scene's origin, where the patient need not be."""
    manager = slicer.app.layoutManager()
    if manager is not None:
        manager.resetThreeDViews()


def _heatmaps(scene: vtkMRMLScene) -> list[Any]:
    """Every heat map of the scene; companions are none."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count)]
    return [node for node in nodes if node.GetAttribute(METHOD) and not node.GetHideFromEditors()]
