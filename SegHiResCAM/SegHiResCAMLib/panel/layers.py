"""Which layer: the suggested one first, the others as a table that says how fine they are and what speaks against them."""

from __future__ import annotations

import math
from typing import Any

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import fill_table, silent

NAME_PIXELS = 170


class LayerTable:
    """Asks the worker for layers, on the volume's grid once there is a segmentation, and is where the user chooses one."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._asked: tuple[Any, ...] = ()
        self._listed: Any = None
        self._names: list[str] = []
        state.ui.layerTable.connect("itemSelectionChanged()", self._selected)

    def refresh(self, volume_ml: float | None) -> None:
        """Show the layers for a segment of a size."""
        state, ui = self._state, self._state.ui
        self._ask(volume_ml)
        if state.layers is not self._listed:
            self._listed = state.layers
            self._fill()
        chosen = state.parameters.layer
        ui.layerLabel.text = self._sentence(chosen)
        with silent(ui.layerTable):
            name = chosen or (state.layers or {}).get("suggested")
            if name in self._names:
                ui.layerTable.selectRow(self._names.index(name))
            else:
                ui.layerTable.clearSelection()

    def _ask(self, volume_ml: float | None) -> None:
        state, parameters = self._state, self._state.parameters
        if state.model is None:
            self._asked = ()
            return
        volume = parameters.inputVolume if parameters.segmentation is not None and None not in state.volumes else None
        extent = (6000 * volume_ml / math.pi) ** (1 / 3) if volume_ml else None
        asked = (state.model_path, volume and volume.GetID(), parameters.axis, extent)
        if asked == self._asked or state.work.name:
            return
        self._asked = asked
        further = state.volumes[1:] if volume is not None else []
        state.work.ask(
            lambda **callbacks: state.logic.explainer.layers(
                state.model_path, volume, further=further, axis=parameters.axis, extent_mm=extent, **callbacks
            ),
            lambda layers: self._told(asked, layers),
        )

    def _told(self, asked: tuple[Any, ...], layers: dict[str, Any]) -> None:
        if asked == self._asked:
            self._state.layers = layers
            self._state.refresh()

    def _fill(self) -> None:
        layers = [one for one in (self._state.layers or {"layers": []})["layers"] if not one["reason"]]
        suggested = (self._state.layers or {}).get("suggested")
        layers.sort(key=lambda one: one["name"] != suggested)  # stable: the others keep the network's order
        self._names = [one["name"] for one in layers]
        rows = [(one["name"], _grid(one["grid"]), _mm(one["mm"]), _marks(one)) for one in layers]
        fill_table(self._state.ui.layerTable, [_("Layer"), _("Grid"), _("mm"), _("Marks")], rows, wide=3)
        self._state.ui.layerTable.setTextElideMode(qt.Qt.ElideLeft)  # names differ at their ends
        header = self._state.ui.layerTable.horizontalHeader()
        header.setSectionResizeMode(0, qt.QHeaderView.Interactive)
        header.resizeSection(0, NAME_PIXELS)
        with silent(self._state.ui.layerTable):
            for row, layer in enumerate(layers):
                sentences = [mark["sentence"] for mark in layer["marks"]]
                for column in range(4):
                    item = self._state.ui.layerTable.item(row, column)
                    item.setToolTip("\n".join([layer["name"], layer["kind"], *sentences]))

    def _sentence(self, chosen: str) -> str:
        if self._state.layers is None:
            return _("suggested when the model is open")
        if chosen and chosen != self._state.layers["suggested"]:
            return chosen
        return _("{name} (suggested: {reason})").format(
            name=self._state.layers["suggested"], reason=self._state.layers["reason"].rstrip(".")
        )

    def _selected(self) -> None:
        row = self._state.ui.layerTable.currentRow()
        if self._state.parameters is not None and self._state.layers and 0 <= row < len(self._names):
            name = self._names[row]
            self._state.parameters.layer = "" if name == self._state.layers["suggested"] else name


def _grid(grid: list[int]) -> str:
    return " × ".join(map(str, grid))


def _mm(millimetres: list[float]) -> str:
    texts = [f"{one:.3g}" for one in millimetres]
    return texts[0] if len(set(texts)) == 1 else " × ".join(texts)


def _marks(layer: dict[str, Any]) -> str:
    return ", ".join(mark["code"] for mark in layer["marks"])
