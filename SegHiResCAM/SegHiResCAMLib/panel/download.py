"""A model of a catalogue that is not on this computer yet: what it is, a question, and its download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.panel.offered_models import OfferedModel, Pending, readable, throw_away
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.worker.protocol import ModelPath

NAME = "download"
WAIT_MILLISECONDS = 100


class ModelDownload:
    """A button that is there while the chosen model is not, and becomes Cancel while it comes.

    Args:
        state: Of the panel.
        came: Called when a model has come.
    """

    def __init__(self, state: State, came: Callable[[], None]) -> None:
        self._state = state
        self._came = came
        self._chosen: OfferedModel | None = None
        self._coming: Pending | None = None
        state.ui.downloadButton.connect("clicked(bool)", lambda _checked: self._clicked())

    def refresh(self, chosen: OfferedModel | None) -> None:
        """Offer to download the chosen model, where it is not there."""
        button, running = self._state.ui.downloadButton, self._state.work.name == NAME
        self._chosen = chosen
        if self._coming is not None and not running:
            given_up, self._coming = self._coming, None
            # What a broken connection has left is gone on with the next time; what the user gave up is not wanted.
            if self._state.work.failed == "cancelled":
                self._throw_away(given_up)
        button.visible = running or (chosen is not None and chosen.pending is not None)
        button.text = _("Cancel") if running else _("Download…")
        button.enabled = running or not self._state.work.name

    def _ask(self) -> None:
        model = self._chosen
        if model is None or model.pending is None or self._state.work.name:
            return
        if slicer.util.confirmOkCancelDisplay(_question(model, model.pending), windowTitle=_("Download a model")):
            self._start(model.pending)

    def _start(self, pending: Pending) -> None:
        state = self._state
        self._coming = pending
        explainer = state.logic.explainer
        state.work.start(NAME, lambda **callbacks: explainer.get_model(pending.name, **callbacks), self._has_come)

    def _throw_away(self, pending: Pending) -> None:
        """As soon as the worker has released it, unless it is wanted again."""
        if self._coming is not None:
            return
        if self._state.logic.explainer.is_busy:
            qt.QTimer.singleShot(WAIT_MILLISECONDS, lambda: self._throw_away(pending))
        else:
            throw_away(pending)

    def _clicked(self) -> None:
        if self._state.work.name == NAME:
            self._state.work.cancel()
        else:
            self._ask()

    def _has_come(self, model: ModelPath) -> None:
        if self._state.parameters is not None and self._chosen is not None and self._chosen.pending == self._coming:
            self._state.parameters.modelPath = Path(model.path)
        self._came()


def described(model: OfferedModel) -> str:
    """What a model segments and its licence, before it is there."""
    pending = model.pending
    size = f" ({readable(pending.size)})" if pending and pending.size else ""
    return _("{model} segments {segments}. {licence}. Not on this computer yet{size}.").format(
        model=model.title,
        segments=several(model.labels),
        licence=licence_of(model.licence),
        size=size,
    )


def licence_of(licence: str) -> str:
    """A licence as a phrase."""
    return _("Licence: {licence}").format(licence=licence) if licence else _("Its licence is not stated")


def several(names: tuple[str, ...] | list[str], most: int = 12) -> str:
    """Names in a row; of very many only the first."""
    rest = _(" and {count} more").format(count=len(names) - most) if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _question(model: OfferedModel, pending: Pending) -> str:
    size = readable(pending.size) if pending.size else _("size unknown")
    lines = [
        _("Download {model} ({size})?").format(model=model.title, size=size),
        _("It segments {segments}.").format(segments=several(model.labels)),
        licence_of(model.licence) + ".",
        _("From {hosts}").format(hosts=", ".join(pending.hosts)) + (f" ({model.source})" if model.source else "") + ".",
        _("To {folder}.").format(folder=pending.folder),
    ]
    return "\n\n".join(lines)
