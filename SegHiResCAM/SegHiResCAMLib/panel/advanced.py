"""Of section 3, what is rarely changed: what the segment is set against, further layers, and the method's own options."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.method_options import MethodOptions, values_of
from SegHiResCAMLib.panel.question_form import QuestionForm
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.widgets import chosen_in, fill_combo, plain_tip, show_row, silent
from SegHiResCAMLib.records.models import LayerList

BACKGROUND = "background"


class Advanced:
    """A group that is closed at first; its title says what is set in it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._form = QuestionForm(state)  # its rows stay, those of the methods come and go below them
        self._options = MethodOptions(state)
        self._offered: dict[str, str] = {}
        self._layers: list[str] = []
        ui = state.ui
        ui.contrastSelector.connect("currentIndexChanged(int)", lambda _index: self._set_against())
        ui.refineList.connect("itemChanged(QListWidgetItem*)", lambda _item: self._refined())

    def refresh(self) -> None:
        """Show the choices that model, segment, layer and method leave."""
        state, ui = self._state, self._state.ui
        offered = {"": _("nothing")} | {name: name for name in contrasts(state)}
        chosen, layers = contrast_of(state), refinements(state)
        if offered != self._offered:
            self._offered = offered
            fill_combo(ui.contrastSelector, offered, chosen)
        with silent(ui.contrastSelector):
            ui.contrastSelector.setCurrentIndex(ui.contrastSelector.findData(chosen))
        show_row(ui.contrastWeightBox, ui.contrastWeightBoxLabel, bool(chosen))
        self._show_layers(layers)
        show_row(ui.refineSelector, ui.refineSelectorLabel, bool(refine_with(state)))
        self._form.refresh()
        self._options.refresh()
        ui.advancedSection.text = " ".join([_("Advanced"), *_summary(state)])

    def _show_layers(self, layers: list[str]) -> None:
        box, chosen = self._state.ui.refineList, refine_with(self._state)
        with silent(box):
            if layers != self._layers:
                self._layers = layers
                box.clear()
                for name in layers:
                    box.addItem(name)
                    box.item(box.count - 1).setToolTip(plain_tip(name))
            for row, name in enumerate(layers):
                box.item(row).setCheckState(qt.Qt.Checked if name in chosen else qt.Qt.Unchecked)

    def _set_against(self) -> None:
        if self._state.parameters is not None:
            self._state.parameters.contrast = chosen_in(self._state.ui.contrastSelector)

    def _refined(self) -> None:
        box = self._state.ui.refineList
        checked = [name for row, name in enumerate(self._layers) if box.item(row).checkState() == qt.Qt.Checked]
        if self._state.parameters is not None and checked != refine_with(self._state):
            self._state.parameters.refineWith = checked


def contrasts(state: State) -> list[str]:
    """What the chosen segment can be set against."""
    background = [BACKGROUND] if state.model and state.model.has_background else []
    return background + [label for label in state.labels if label != state.label]


def contrast_of(state: State) -> str:
    """What the chosen segment is set against; empty for nothing, as for what this model does not have."""
    return state.parameters.contrast if state.parameters.contrast in contrasts(state) else ""


def refinements(state: State) -> list[str]:
    """The layers that the chosen one can be combined with."""
    listed = state.layers or LayerList()
    chosen = state.parameters.layer or listed.suggested
    return [layer.name for layer in listed.layers if not layer.reason and layer.name != chosen]


def refine_with(state: State) -> list[str]:
    """The layers that it is combined with; those that this model does not have are none."""
    there = refinements(state)
    return [name for name in state.parameters.refineWith if name in there or state.layers is None]


def _summary(state: State) -> list[str]:
    contrast, layers = contrast_of(state), refine_with(state)
    said = [_("contrast with {segment}").format(segment=contrast)] if contrast else []
    if layers:
        said.append(_("{count} more layers").format(count=len(layers)) if len(layers) > 1 else _("1 more layer"))
    methods = (state.parameters.method, state.parameters.compareWith)
    if any(values_of(state.parameters.methodOptions, method) for method in methods):
        said.append(_("options of the method"))
    return [f"({', '.join(said)})"] if said else []
