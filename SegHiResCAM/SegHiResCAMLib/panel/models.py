"""The models that the panel offers: those of the catalogues, and those that were used before. The worker opens them."""

from __future__ import annotations

from pathlib import Path

import qt

from SegHiResCAMLib.panel.offered_models import OfferedModel, catalogue_models, read_object

RECENT = "SegHiResCAM/RecentModels"
"""Key of the application's settings."""

KEPT = 8


def offered_models(chosen: str) -> list[OfferedModel]:
    """Every model once, those first that are there; `chosen` is among them, wherever it comes from."""
    catalogue = catalogue_models()
    offered = {one.path: one for one in catalogue if one.pending is None}
    pending = {one.path: one for one in catalogue if one.pending is not None}
    for path in [*recent_models(), *([chosen] if chosen else [])]:
        if path not in pending:
            offered.setdefault(path, OfferedModel(_title(Path(path)), path))
    return [*offered.values(), *pending.values()]


def recent_models() -> list[str]:
    """Paths of the models that were used before and are still there, the last one first."""
    kept = qt.QSettings().value(RECENT)
    paths = [kept] if isinstance(kept, str) else kept or []
    return [path for path in paths if Path(path).exists()]


def remember_model(path: str) -> None:
    """Put a model at the top of those used before."""
    if path not in [one.path for one in catalogue_models()]:
        qt.QSettings().setValue(RECENT, [path, *[one for one in recent_models() if one != path]][:KEPT])


def _title(path: Path) -> str:
    described = (path / "configs/metadata.json", path.with_suffix(".json"))
    return next((str(facts["name"]) for facts in map(read_object, described) if "name" in facts), path.name)
