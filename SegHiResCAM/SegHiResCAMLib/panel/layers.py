"""Which layer: the suggested one first, the others as a table that says how fine they are, and their caveats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import fill_table, plain_tip, silent
from SegHiResCAMLib.records.models import LayerList, LayerSummary
from SegHiResCAMLib.records.wording import spacing_words
from SegHiResCAMLib.scene.errors import SceneError

CAVEAT_CHARACTERS = 11
"""That the last column shows in a narrow panel; the rest is in the tooltip."""

_SORT_BY: tuple[Callable[[LayerSummary], Any], ...] = (
    lambda layer: layer.name,
    lambda layer: math.prod(layer.grid),
    lambda layer: max(layer.mm, default=0),
    lambda layer: [one.title for one in layer.caveats],
)
"""Of each column, what a click on its head sorts by."""


class LayerTable:
    """Asks the worker for layers, on the volume's grid once there is a segmentation, and is where the user chooses one."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._asked: tuple[Any, ...] = ()
        self._listed: Any = None
        self._names: list[str] = []
        self._sorted: tuple[int, bool] | None = None
        table = state.ui.layerTable
        table.connect("itemSelectionChanged()", self._selected)
        table.horizontalHeader().connect("sectionClicked(int)", self._sort)

    def refresh(self, volume_ml: float | None) -> None:
        """Show the layers for a segment of a size."""
        state, ui = self._state, self._state.ui
        self._ask(volume_ml)
        if state.layers is not self._listed:
            self._listed = state.layers
            self._fill()
        chosen = state.parameters.layer or (state.layers or LayerList()).suggested
        with silent(ui.layerTable):
            if chosen in self._names:
                ui.layerTable.selectRow(self._names.index(chosen))
            else:
                ui.layerTable.clearSelection()
        ui.layerLabel.text = self._title(chosen)
        ui.layerFacts.text = self._messages(chosen)
        ui.layerLabel.toolTip = plain_tip("\n".join(filter(None, [chosen, ui.layerFacts.text])))

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

        def begin(**callbacks: Any) -> Any:
            question = partial(
                state.logic.explainer.layers, state.model_path, axis=parameters.axis, extent_mm=extent, **callbacks
            )
            try:
                return question(volume, further=state.volumes[1:]) if volume is not None else question()
            except SceneError:  # whoever segments or explains it is told why
                return question()

        state.work.ask(begin, lambda layers: self._told(asked, layers))

    def _told(self, asked: tuple[Any, ...], layers: LayerList) -> None:
        if asked == self._asked:
            self._state.layers = layers
            self._state.refresh()

    def _fill(self) -> None:
        listed = self._state.layers or LayerList()
        layers = [one for one in listed.layers if not one.reason]
        if self._sorted is None:
            layers.sort(key=lambda one: one.name != listed.suggested)  # stable: the others keep the network's order
        else:
            column, falling = self._sorted
            layers.sort(key=_SORT_BY[column], reverse=falling)
        self._names = [one.name for one in layers]
        rows = [
            (one.name, _grid(one.grid), _mm(one.mm), self._caveats(one, one.name == listed.suggested)) for one in layers
        ]
        table = self._state.ui.layerTable
        tips = [["\n".join([one.name, one.kind, *(caveat.message for caveat in one.caveats)])] * 4 for one in layers]
        titles = [_("Layer"), _("Grid"), _("mm"), _("Caveats")]
        fill_table(table, titles, rows, wide=0, longest={3: CAVEAT_CHARACTERS}, tips=tips)
        table.setTextElideMode(qt.Qt.ElideLeft)  # names differ at their ends

    def _caveats(self, layer: LayerSummary, suggested: bool) -> str:
        titles = {
            "tail-trivial": _("the map is the explained region"),
            "feeds-normalisation": _("no Seg-Grad CAM here"),
            "grid-too-coarse": _("coarser than the segment"),
        }
        said = [titles.get(one.code, one.title) for one in layer.caveats]
        return ", ".join([_("suggested"), *said] if suggested else said)

    def _title(self, chosen: str) -> str:
        if self._state.layers is None:
            return _("suggested when the model is open")
        words = layer_words(self._state.layers, chosen)
        return _("{layer} (suggested)").format(layer=words) if chosen == self._state.layers.suggested else words

    def _messages(self, chosen: str) -> str:
        """What is to be known of a layer: why it is suggested, and its caveats."""
        listed = self._state.layers
        if listed is None:
            return ""
        found = [caveat.message for one in listed.layers if one.name == chosen for caveat in one.caveats]
        if chosen == listed.suggested:
            found.insert(0, _("Suggested: {reason}.").format(reason=listed.reason.rstrip(".")))
        return "\n".join(found)

    def _selected(self) -> None:
        row = self._state.ui.layerTable.currentRow()
        if self._state.parameters is not None and self._state.layers and 0 <= row < len(self._names):
            name = self._names[row]
            self._state.parameters.layer = "" if name == self._state.layers.suggested else name

    def _sort(self, column: int) -> None:
        """Rising at the first click, falling at the second, the network's own order at the third."""
        before, header = self._sorted, self._state.ui.layerTable.horizontalHeader()
        self._sorted = (column, False)
        if before is not None and before[0] == column:
            self._sorted = None if before[1] else (column, True)
        header.setSortIndicatorShown(self._sorted is not None)
        if self._sorted is not None:
            header.setSortIndicator(column, qt.Qt.DescendingOrder if self._sorted[1] else qt.Qt.AscendingOrder)
        self._listed = None
        self._state.refresh()


def layer_words(listed: LayerList, name: str) -> str:
    """A layer for people: where in the network it lies and how fine it is, "decoder, 16 mm grid"; its name where that is not known.

    Of an encoder and a decoder, the coarsest grid is the turning point.
    """
    gridded = [one for one in listed.layers if one.grid and one.order >= 0]
    layer = next((one for one in gridded if one.name == name), None)
    if layer is None:
        return name
    coarsest = min(math.prod(one.grid) for one in gridded)
    turn = [one.order for one in gridded if math.prod(one.grid) == coarsest]
    if math.prod(layer.grid) == coarsest:
        part = _("bottleneck")
    elif layer.order < min(turn):
        part = _("encoder")
    else:
        part = _("decoder") if layer.order > max(turn) else _("network")
    return ", ".join(filter(None, [part, spacing_words(layer.mm) or _("{grid} grid").format(grid=_grid(layer.grid))]))


def _grid(grid: Sequence[int]) -> str:
    return "×".join(map(str, grid))


def _mm(millimetres: Sequence[float]) -> str:
    texts = [f"{one:.3g}" for one in millimetres]
    return texts[0] if len(set(texts)) == 1 else "×".join(texts)
