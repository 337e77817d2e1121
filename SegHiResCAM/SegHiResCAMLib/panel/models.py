"""The models that the panel offers: those that come along, those of catalogues, and those that were used before.

Only files' descriptions are read here, with the standard library; the worker opens models.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt

from SegHiResCAMLib.resources import resource

RECENT = "SegHiResCAM/RecentModels"
"""Key of the application's settings."""

KEPT = 8


@dataclass(frozen=True)
class OfferedModel:
    """One line of the list: what it is called, and where it is."""

    name: str
    path: str


def offered_models(chosen: str) -> list[OfferedModel]:
    """Every model once; `chosen` is among them, wherever it comes from."""
    paths = [*shipped_models(), *recent_models(), *([chosen] if chosen else [])]
    return [OfferedModel(_name(Path(path)), path) for path in dict.fromkeys(paths)]


def shipped_models() -> list[str]:
    """Paths of the models that come along."""
    return [str(file.parents[1]) for file in sorted(resource("Models").glob("*/configs/metadata.json"))]


def recent_models() -> list[str]:
    """Paths of the models that were used before and are still there, the last one first."""
    kept = qt.QSettings().value(RECENT)
    paths = [kept] if isinstance(kept, str) else kept or []
    return [path for path in paths if Path(path).exists()]


def remember_model(path: str) -> None:
    """Put a model at the top of those used before."""
    if path not in shipped_models():
        qt.QSettings().setValue(RECENT, [path, *[one for one in recent_models() if one != path]][:KEPT])


def _name(path: Path) -> str:
    for file in (path / "configs/metadata.json", path.with_suffix(".json")):
        try:
            facts: Any = json.loads(file.read_text(encoding="utf-8"))
            return str(facts["name"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # whatever it is, its file's name says something
    return path.name
