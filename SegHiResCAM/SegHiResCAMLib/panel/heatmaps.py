"""The heat maps of the scene as the data tree shows them: their names are followed, and all of them can be removed at once."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.scene.folders import follow_name
from SegHiResCAMLib.scene.heatmap import MEASUREMENTS, heatmaps_of, remove_heatmap


class HeatMaps:
    """A button, and the names of what belongs to heat maps."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._names: dict[str, str] = {}
        state.ui.removeAllButton.connect("clicked(bool)", lambda _checked: self._remove_all())

    def refresh(self) -> None:
        """Follow the names, and offer to remove what there is."""
        heatmaps = heatmaps_of(slicer.mrmlScene)
        names = {node.GetID(): node.GetName() for node in heatmaps}
        if names != self._names:
            self._names = names
            for node in heatmaps:
                follow_name(slicer.mrmlScene, node, node.GetNodeReference(MEASUREMENTS))
        self._state.ui.removeAllButton.enabled = bool(heatmaps) and not self._state.work.name

    def _remove_all(self) -> None:
        heatmaps = heatmaps_of(slicer.mrmlScene)
        question = _("Remove {count} heat maps from the scene, with their tables? What was exported stays.").format(
            count=len(heatmaps)
        )
        if slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Remove all maps")):
            for node in heatmaps:
                remove_heatmap(node)
