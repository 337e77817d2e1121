"""The list of segments: colour, name and volume; of the segmentation, or of the model while there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.parameters import DRAWN, SEGMENT
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import chosen_in, fill_combo, fill_table, set_cell, show_row, silent
from SegHiResCAMLib.scene.segments import SegmentVoxels, model_sha256_of, segment_ids, segment_voxels, volumes_ml

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentationNode

ICON_PIXELS = 14

Row = tuple[str, str, tuple[float, float, float]]
"""Id, name, colour."""


class SegmentList:
    """Follows segmentation and model, and is where the user chooses a segment and, where names differ, its label."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._listed: Any = None
        self._ids: list[str] = []
        self._unit = _("Millilitres in the segmentation")
        self._volumes: dict[str, float] = {}
        state.ui.segmentTable.connect("itemSelectionChanged()", self._selected)
        state.ui.labelSelector.connect("currentIndexChanged(int)", lambda _index: self._said())

    def refresh(self) -> None:
        """Show the segments, which one is chosen, and whether its label must be asked for."""
        state, ui = self._state, self._state.ui
        node = state.parameters.segmentation
        listed = (node and node.GetID(), _changed(node), tuple(state.labels))
        if listed != self._listed:
            new = self._listed is None or self._listed[0] != listed[0]
            self._listed, self._volumes = listed, {}
            self._fill(_rows(node, state))
            if node is not None:
                self._measure(listed, segment_voxels(node))
                if new:
                    self._take_as_drawn(node)
        with silent(ui.segmentTable):
            chosen = state.parameters.segmentId
            if chosen in self._ids:
                ui.segmentTable.selectRow(self._ids.index(chosen))
            else:
                ui.segmentTable.clearSelection()
        differs = state.segment_name.casefold() not in [label.casefold() for label in state.labels]
        fill_combo(ui.labelSelector, {label: label for label in state.labels}, state.parameters.label)
        show_row(ui.labelSelector, ui.labelSelectorLabel, bool(state.model and state.segment_name and differs))

    def volume_ml(self) -> float | None:
        """Of the chosen segment, where it is drawn and measured."""
        return self._volumes.get(self._state.parameters.segmentId)

    def _measure(self, listed: Any, voxels: dict[str, SegmentVoxels]) -> None:
        """Count voxels in the background: there may be very many."""

        def receive(volumes: dict[str, float]) -> None:
            if listed == self._listed:
                self._volumes = volumes
                for row, segment_id in enumerate(self._ids):
                    millilitres = f"{volumes.get(segment_id, 0):.1f}"
                    set_cell(self._state.ui.segmentTable, row, 1, millilitres, self._unit)

        explainer = self._state.logic.explainer
        self._state.work.ask(
            lambda **callbacks: explainer.compute(lambda: volumes_ml(voxels), receive, **callbacks),
            lambda _nothing: self._state.refresh(),
        )

    def _fill(self, rows: list[Row]) -> None:
        table = self._state.ui.segmentTable
        self._ids = [row[0] for row in rows]
        tips = [("", self._unit)] * len(rows)
        fill_table(table, [_("Segment"), _("ml")], [(name, "") for _id, name, _color in rows], tips=tips)
        with silent(table):
            for index, (_id, _name, color) in enumerate(rows):
                table.item(index, 0).setIcon(_swatch(color))

    def _take_as_drawn(self, node: vtkMRMLSegmentationNode) -> None:
        """A segmentation that this model did not make is explained as it is drawn, until the user says otherwise."""
        own = self._state.model is not None and model_sha256_of(node) == self._state.model.sha256
        parameters = self._state.parameters
        if own and parameters.pixelSet == DRAWN:
            parameters.pixelSet = SEGMENT
        elif not own and self._state.model is not None and parameters.pixelSet == SEGMENT:
            parameters.pixelSet = DRAWN

    def _selected(self) -> None:
        row = self._state.ui.segmentTable.currentRow()
        if self._state.parameters is not None and 0 <= row < len(self._ids):
            self._state.parameters.segmentId = self._ids[row]

    def _said(self) -> None:
        if self._state.parameters is not None:
            self._state.parameters.label = chosen_in(self._state.ui.labelSelector)


def _changed(node: vtkMRMLSegmentationNode | None) -> tuple[int, ...]:
    """Changes when a segment is added, renamed, coloured or drawn."""
    if node is None:
        return ()
    segments = [node.GetSegmentation().GetSegment(segment_id) for segment_id in segment_ids(node)]
    images = [segment.GetRepresentation("Binary labelmap") for segment in segments]
    return tuple(one.GetMTime() for one in [*segments, *images] if one is not None)


def _rows(node: vtkMRMLSegmentationNode | None, state: State) -> list[Row]:
    if node is None:
        labels = state.model.labels if state.model else ()
        return [(label.name, label.name, label.color) for label in labels]
    segments = {segment_id: node.GetSegmentation().GetSegment(segment_id) for segment_id in segment_ids(node)}
    return [(segment_id, segment.GetName(), segment.GetColor()) for segment_id, segment in segments.items()]


def _swatch(color: tuple[float, float, float]) -> Any:
    picture = qt.QPixmap(ICON_PIXELS, ICON_PIXELS)
    picture.fill(qt.QColor(*(round(255 * channel) for channel in color)))
    return qt.QIcon(picture)
