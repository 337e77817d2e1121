"""The models that the panel offers: those of the catalogues, and those that were used before.

Only descriptions are read here, with the standard library; the worker opens models.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt

from SegHiResCAMLib.resources import resource

RECENT = "SegHiResCAM/RecentModels"
"""Key of the application's settings."""

CATALOGUE = "SEGHIRESCAM_CATALOGUE"
"""Environment variable: the user's own catalogue, where it is not in the platform's folder for settings."""

KEPT = 8


@dataclass(frozen=True)
class OfferedModel:
    """One line of the list: what it is called, where it is, and what it is for."""

    name: str
    path: str
    description: str = ""


def offered_models(chosen: str) -> list[OfferedModel]:
    """Every model once; `chosen` is among them, wherever it comes from."""
    offered = {one.path: one for one in catalogue_models()}
    for path in [*recent_models(), *([chosen] if chosen else [])]:
        offered.setdefault(path, OfferedModel(_name(Path(path)), path))
    return list(offered.values())


def catalogue_models() -> list[OfferedModel]:
    """What the catalogues have that is there: the one that comes along, then the user's own."""
    found = []
    for file in (resource("Models", "catalogue.json"), user_catalogue()):
        for model in _json(file).get("models", []):
            path = file.parent / str(model.get("path", ""))
            if "path" in model and path.exists():
                title = str(model.get("title") or model.get("name"))
                found.append(OfferedModel(title, str(path), str(model.get("description", ""))))
    return found


def user_catalogue() -> Path:
    """The user's own catalogue, whether it exists or not: where `seghirescam models` keeps it, too."""
    given, home = os.environ.get(CATALOGUE), Path.home()
    if given:
        return Path(given)
    if sys.platform == "win32":
        settings = Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local"))
    elif sys.platform == "darwin":
        settings = home / "Library/Application Support"
    else:
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return settings / "SegHiResCAM" / "catalogue.json"


def recent_models() -> list[str]:
    """Paths of the models that were used before and are still there, the last one first."""
    kept = qt.QSettings().value(RECENT)
    paths = [kept] if isinstance(kept, str) else kept or []
    return [path for path in paths if Path(path).exists()]


def remember_model(path: str) -> None:
    """Put a model at the top of those used before."""
    if path not in [one.path for one in catalogue_models()]:
        qt.QSettings().setValue(RECENT, [path, *[one for one in recent_models() if one != path]][:KEPT])


def _name(path: Path) -> str:
    described = (path / "configs/metadata.json", path.with_suffix(".json"))
    return next((str(facts["name"]) for facts in map(_json, described) if "name" in facts), path.name)


def _json(file: Path) -> dict[str, Any]:
    """An object; empty for whatever cannot be read, of which the worker will say more."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
