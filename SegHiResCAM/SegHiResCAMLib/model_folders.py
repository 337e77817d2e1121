"""Where catalogues and downloaded models lie; the standard library only, since the panel looks there before the engine is installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

CATALOGUE = "SEGHIRESCAM_CATALOGUE"
"""Environment variable: the user's catalogue file, where it is not in the platform's folder for settings."""

CACHE = "SEGHIRESCAM_CACHE"
"""Environment variable: the folder of downloaded models, where it is not in the platform's folder for caches."""

RECEIPT = "download.json"
"""Marks a folder of the cache as ours; nothing else is ever deleted."""


def user_catalogue() -> Path:
    """The user's own catalogue, whether it exists or not."""
    given = os.environ.get(CATALOGUE)
    settings = _platform_folder("Library/Application Support", "XDG_CONFIG_HOME", ".config", "")
    return Path(given) if given else settings / "catalogue.json"


def cache_folder() -> Path:
    """The folder of downloaded models, whether it exists or not."""
    given = os.environ.get(CACHE)
    return Path(given) if given else _platform_folder("Library/Caches", "XDG_CACHE_HOME", ".cache", "Cache") / "models"


def file_name(file: Mapping[str, Any]) -> str:
    """What one of the files that a catalogue lists is called in the cache: as it says, or as its address ends.

    Raises:
        ValueError: The address is none.
    """
    return str(file.get("name") or unquote(urlsplit(file["url"]).path).rpartition("/")[2])


def _platform_folder(mac: str, variable: str, linux: str, windows: str) -> Path:
    """As the library platformdirs has it."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local")) / "SegHiResCAM" / windows
    base = home / mac if sys.platform == "darwin" else home / linux
    return Path(os.environ.get(variable) or base) / "SegHiResCAM"
