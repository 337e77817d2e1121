"""What was made elsewhere becomes the panel's own: a scene of the command or of a script, and heat maps that were opened as files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SegHiResCAMLib.panel.models import offered_models
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.scene.appearance import appearance_of
from SegHiResCAMLib.scene.heatmap import INPUT_VOLUME, SEGMENTATION, explanation_of
from SegHiResCAMLib.scene.overlay import opacity_of, shown_heatmap
from SegHiResCAMLib.scene.segments import segment_ids

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScene

_DIGITS = 4
"""Of what a scene's file says of sliders: it keeps six of each number."""

_CHUNK = 1 << 20


def adopt_shown(state: State, scene: vtkMRMLScene) -> vtkMRMLScalarVolumeNode | None:
    """Choose the heat map that the views show, as it is shown, where the scene's parameters know of none; returns it."""
    parameters = state.logic.getParameterNode()
    heatmap = shown_heatmap(scene) if parameters.heatmap is None else None
    if heatmap is None or heatmap.GetImageData() is None:
        return None
    look = appearance_of(heatmap)
    parameters.opacity = round(opacity_of(scene, heatmap) or parameters.opacity, _DIGITS)
    parameters.lowerFraction = round(look.lower_fraction, _DIGITS)
    parameters.colorMap, parameters.signed = look.colors, look.signed
    parameters.interpolate, parameters.legend = look.interpolate, look.legend
    parameters.overlayVisible = True
    _choose_its_origin(parameters, heatmap)
    parameters.heatmap = heatmap
    return heatmap


def choose_model_of(state: State, heatmap: vtkMRMLScalarVolumeNode) -> None:
    """Choose the model that made a heat map, where it is on this machine; its weights are looked through in the background."""
    record = explanation_of(heatmap)
    if record is None or not record.model.sha256 or state.model_path:
        return
    paths = [one.path for one in offered_models("") if one.pending is None]
    explainer = state.logic.explainer

    def receive(path: str) -> None:
        if path and state.parameters is not None and not state.model_path:
            state.parameters.modelPath = Path(path)

    state.work.ask(
        lambda **callbacks: explainer.compute(lambda: _with_weights(paths, record.model.sha256), receive, **callbacks),
        lambda _nothing: state.refresh(),
    )


def _choose_its_origin(parameters: Any, heatmap: vtkMRMLScalarVolumeNode) -> None:
    """Choose what a heat map was made of, as far as it is in the scene, and what was asked."""
    volume, segmentation = (heatmap.GetNodeReference(role) for role in (INPUT_VOLUME, SEGMENTATION))
    record = explanation_of(heatmap)
    if volume is not None:
        parameters.inputVolume = volume
    if segmentation is not None:
        parameters.segmentation = segmentation
    if record is None:
        return
    names = {} if segmentation is None else {
        segmentation.GetSegmentation().GetSegment(one).GetName(): one for one in segment_ids(segmentation)
    }  # fmt: skip
    parameters.segmentId = names.get(record.question.segment, parameters.segmentId)
    parameters.method, parameters.layer = record.question.method, record.question.layer or ""


def _with_weights(paths: Iterable[str], sha256: str) -> str:
    """The first of some models whose weights have a checksum; empty where none has. Runs in a thread."""
    return next((path for path in paths if _checksum(_weights_of(Path(path))) == sha256), "")


def _weights_of(model: Path) -> Path:
    return model / "models/model.pt" if model.is_dir() else model


def _checksum(file: Path) -> str:
    found = hashlib.sha256()
    try:
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                found.update(chunk)
    except OSError:
        return ""
    return found.hexdigest()
