"""What a catalogue of models says of each, and where that lies on this machine; the standard library alone, so that the panel can ask before the engine is there.

The engine holds a catalogue against its schema first and says what is wrong with it; the panel leaves out what cannot be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SegHiResCAMLib.model_folders import RECEIPT, cache_folder, file_name

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Names that the catalogues' schema allows; they become folders."""


@dataclass(frozen=True)
class Download:
    """A file that belongs to a model.

    Attributes:
        url: Address.
        sha256: Lower-case hex.
        name: Its own, in the cache.
        size: Bytes; None when unknown.
    """

    url: str
    sha256: str
    name: str
    size: int | None = None


@dataclass(frozen=True)
class Entry:
    """A model of a catalogue.

    Attributes:
        name: By which it is opened.
        catalogue: The file it stands in.
        content: All that the catalogue says of it.
        path: Where it lies; None where it is downloaded.
        files: What is downloaded; the first is opened.
    """

    name: str
    catalogue: Path
    content: dict[str, Any]
    path: Path | None = None
    files: tuple[Download, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its downloads lie."""
        return cache_folder() / self.name

    @property
    def location(self) -> Path:
        """The file or folder to open, whether it is there or not."""
        return self.path or self.folder / self.files[0].name

    @property
    def is_present(self) -> bool:
        """Whether it can be opened without downloading anything."""
        if self.path is not None:
            return self.path.exists()
        return all((self.folder / file.name).is_file() for file in self.files)

    @property
    def size(self) -> int | None:
        """Bytes to download, where all are known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size)


class UnnamedDownloadError(ValueError):
    """An address that ends in no file name, and no name beside it. Its text is the address."""


def entry_of(model: dict[str, Any], catalogue: Path) -> Entry:
    """One entry of the list `models` of a catalogue.

    Args:
        model: As the file has it.
        catalogue: The file.

    Raises:
        UnnamedDownloadError: See there.
        KeyError, TypeError, ValueError: It is not as the schema has it.
    """
    name = model["name"]
    if not _NAME.fullmatch(name):
        raise ValueError(name)
    if "path" in model:
        return Entry(name, catalogue, model, catalogue.parent / model["path"])
    files = tuple(_download(file) for file in model["files"])
    if not files:
        raise ValueError(name)
    return Entry(name, catalogue, model, files=files)


def _download(file: dict[str, Any]) -> Download:
    try:
        name = file_name(file)
    except ValueError:
        name = ""
    if not name.strip(".") or any(part in name for part in ("/", "\\", ":", "\0")) or name == RECEIPT:
        raise UnnamedDownloadError(file["url"])
    return Download(file["url"], file["sha256"], name, file.get("size"))
