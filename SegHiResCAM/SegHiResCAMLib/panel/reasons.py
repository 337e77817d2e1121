"""Why a button is disabled, as a sentence that the user always sees; empty where it is enabled."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _


def why_not_segment(volume: Any, model: dict[str, Any] | None) -> str:
    """What is missing before a volume can be segmented."""
    if volume is None:
        return _("Load a volume and choose it above.")
    if volume.GetImageData() is None:
        return _("The chosen volume has no voxels: load it again.")
    if model is None:
        return _("Choose a model above.")
    if model["in_channels"] != 1:
        return _("This model needs several images of the patient at once, which this panel cannot give it.")
    return ""


def why_not_explain(volume: Any, model: dict[str, Any] | None, segment: str) -> str:
    """What is missing before a segment can be explained."""
    reason = why_not_segment(volume, model)
    if reason or model is None:
        return reason
    if segment not in [label["name"] for label in model["labels"]]:
        return _("Choose a segment that the model outlines.")
    return ""
