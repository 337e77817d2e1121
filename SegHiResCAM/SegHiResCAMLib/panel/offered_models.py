"""What the catalogues of models say, read with the standard library alone: names, licences and sizes are there before the engine is.

The worker reads the same files, checks them and downloads; here, whatever is wrong with one is left out.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from SegHiResCAMLib.catalogue_file import Entry, entry_of
from SegHiResCAMLib.model_folders import RECEIPT, user_catalogue
from SegHiResCAMLib.resources import resource


@dataclass(frozen=True)
class Pending:
    """What is to be downloaded before a model can be opened.

    Attributes:
        name: By which the worker gets it.
        folder: Where it will lie.
        hosts: Where it comes from.
        size: Bytes; None where the catalogue does not say.
    """

    name: str
    folder: Path
    hosts: tuple[str, ...]
    size: int | None


@dataclass(frozen=True)
class OfferedModel:
    """One line of the list of models.

    Attributes:
        title: What it is called.
        path: What is opened.
        description: What it is for.
        labels: What it outlines.
        licence: Empty where it is unknown.
        source: Who made it, or a web page.
        pending: What is to be downloaded first; None where it is there.
    """

    title: str
    path: str
    description: str = ""
    labels: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""
    pending: Pending | None = None


def catalogue_models() -> list[OfferedModel]:
    """What the catalogues have, that which comes along first; models of this machine only while they are there."""
    found: dict[str, OfferedModel] = {}
    for file in (resource("Models", "catalogue.json"), user_catalogue()):
        for model in read_object(file).get("models", []):
            offered = _offered(model, file)
            if offered is not None:
                found.setdefault(offered.path, offered)
    return list(found.values())


def throw_away(pending: Pending) -> None:
    """Delete what has arrived of a download that was given up."""
    if (pending.folder / RECEIPT).is_file():
        shutil.rmtree(pending.folder, ignore_errors=True)


def readable(size: int) -> str:
    """Bytes for people: "19 MB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 100 * factor else f"{size / factor:.0f} {unit}"
    return f"{max(1, round(size / 1e3))} kB"


def read_object(file: Path) -> dict[str, Any]:
    """A file's JSON object; empty for whatever cannot be read, of which the worker will say more."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _offered(model: Any, catalogue: Path) -> OfferedModel | None:
    """None for what is not there and cannot be had, and for what is not as it should be."""
    try:
        entry = entry_of(model, catalogue)
        if entry.path is not None and not entry.is_present:
            return None
        labels = tuple(str(label["name"]) for label in model.get("labels", []))
        texts = {name: str(model.get(name, "")) for name in ("description", "licence", "source")}
        title = str(model.get("title") or entry.name)
        pending = None if entry.is_present else _pending(entry)
        return OfferedModel(title, str(entry.location), labels=labels, pending=pending, **texts)
    except (KeyError, TypeError, ValueError, AttributeError, OSError):
        return None


def _pending(entry: Entry) -> Pending:
    hosts = dict.fromkeys(urlsplit(file.url).hostname or "this machine" for file in entry.files)
    return Pending(entry.name, entry.folder, tuple(hosts), entry.size)
