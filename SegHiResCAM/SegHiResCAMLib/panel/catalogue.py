"""What the catalogues of models say, read with the standard library alone: names, licences and sizes are there before the engine is.

The worker reads the same files, checks them and downloads; here, whatever is wrong with one is left out.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from SegHiResCAMLib.model_folders import RECEIPT, cache_folder, file_name, user_catalogue
from SegHiResCAMLib.resources import resource

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Names that the catalogues' schema allows; they become folders."""


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
        pending = None
        if "path" in model:
            path = catalogue.parent / model["path"]
            if not path.exists():
                return None
        elif not _NAME.fullmatch(model["name"]):
            return None
        else:
            folder = cache_folder() / model["name"]
            files = [folder / file_name(file) for file in model["files"]]
            path = files[0]
            if not all(file.is_file() for file in files):
                pending = _pending(model, folder)
        labels = tuple(str(label["name"]) for label in model.get("labels", []))
        texts = {name: str(model.get(name, "")) for name in ("description", "licence", "source")}
        return OfferedModel(
            str(model.get("title") or model["name"]), str(path), labels=labels, pending=pending, **texts
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError):
        return None


def _pending(model: dict[str, Any], folder: Path) -> Pending:
    sizes = [file.get("size") for file in model["files"]]
    hosts = dict.fromkeys(urlsplit(file["url"]).hostname or "this machine" for file in model["files"])
    return Pending(model["name"], folder, tuple(hosts), None if None in sizes else sum(sizes))
