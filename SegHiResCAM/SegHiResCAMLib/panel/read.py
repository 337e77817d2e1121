"""Section 4: look at a heat map, beside another, in 3D, and at what the engine says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.findings import refresh_findings
from SegHiResCAMLib.panel.looks import is_signed
from SegHiResCAMLib.panel.parameters import SLICE
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.views import Views
from SegHiResCAMLib.provenance import METHOD
from SegHiResCAMLib.scene.heatmap import heatmaps_of, peak_position
from SegHiResCAMLib.scene.overlay import jump_slices
from SegHiResCAMLib.scene.per_slice import PER_SLICE, add_per_slice, per_slice, remove_per_slice, slicing_axis
from SegHiResCAMLib.scene.volumes import volume_array

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode


class ReadSection:
    """The controls of what is shown, and what is known of it; `views` shows it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.views = Views(state)
        self._dividing: set[str] = set()
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
        ui.colorSelector.enabled = heatmap is not None and not is_signed(parameters)
        ui.signedCheckBox.enabled = heatmap is not None and parameters.normalisation != SLICE
        refresh_findings(ui, heatmap)
        self._divide(heatmap)
        self.views.refresh()

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

    # Every slice up to its own maximum: a companion of the heat map, made in the background

    def _divide(self, heatmap: vtkMRMLScalarVolumeNode) -> None:
        parameters = self._state.parameters
        second = parameters.secondHeatmap if parameters.compareViews else None
        for node in heatmaps_of(slicer.mrmlScene):
            wanted = parameters.normalisation == SLICE and node in (heatmap, second)
            if not wanted and node.GetNodeReference(PER_SLICE) is not None:
                remove_per_slice(node)
            elif wanted and node.GetNodeReference(PER_SLICE) is None and node.GetID() not in self._dividing:
                self._start_dividing(node)

    def _start_dividing(self, node: vtkMRMLScalarVolumeNode) -> None:
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
