"""Models known by name: those that come with the program, and those that users add in a catalogue of their own.

Nothing is downloaded unless `get` is called. `Resources/Schemas/catalogue.schema.json` documents the file and checks it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from SegHiResCAMLib.catalogue_file import Entry, UnnamedDownloadError, entry_of
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.catalogue.download import download
from SegHiResCAMLib.engine.models.schemas import check
from SegHiResCAMLib.engine.models.untrusted.checkpoint import sha256
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.model_folders import CACHE, CATALOGUE, RECEIPT, cache_folder, user_catalogue
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.writing.errors import WritingError, readable
from SegHiResCAMLib.writing.inputs import check_outputs
from SegHiResCAMLib.writing.whole_file import write_text


def entries() -> dict[str, Entry]:
    """All models by name: the program's own, then the user's.

    Raises:
        EngineError: `catalogue-wrong`, `config-unreadable`, when the user's catalogue is not as the schema has it.
    """
    found = _read(resource("Models", "catalogue.json"))
    own = user_catalogue()
    if own.exists():
        for name, entry in _read(own).items():
            if name in found:
                raise EngineError(
                    "catalogue-wrong",
                    f"'{own}' has a model '{name}', but a model of that name comes with the program. Rename yours.",
                )
            found[name] = entry
    return found


def present(name: str) -> Entry | None:
    """The catalogue's model `name`, which can be opened; None when there is no such model.

    Raises:
        EngineError: `model-not-downloaded`, `catalogue-path`, and as `entries`.
    """
    entry = entries().get(name)
    if entry is None or entry.is_present:
        return entry
    if entry.path is not None:
        raise EngineError(
            "catalogue-path",
            f"'{entry.path}', where '{entry.catalogue}' has the model '{name}', does not exist. Restore it, or remove the model with "
            f"'seghirescam models remove {name}'.",
        )
    size = f" ({readable(entry.size)})" if entry.size else ""
    raise EngineError(
        "model-not-downloaded",
        f"'{name}' is in the catalogue, but not on this computer. 'seghirescam models get {name}' downloads it{size}.",
    )


def check_weights(entry: Entry, found: str) -> None:
    """Hold the SHA-256 of a model's weights against its catalogue.

    Raises:
        EngineError: `catalogue-checksum`.
    """
    if entry.path is not None and entry.content["sha256"] != found:
        raise EngineError(
            "catalogue-checksum",
            f"The weights of '{entry.name}' are not those that '{entry.catalogue}' describes (their SHA-256 differs). If you changed the "
            f"model, remove it with 'seghirescam models remove {entry.name}' and add it again.",
        )


def get(name: str, progress: Progress = silent) -> Path:
    """Download the catalogue's model `name`, as far as it is not there yet.

    Returns:
        The file to open.

    Raises:
        EngineError: `model-absent`, and as `download` and `entries`.
    """
    entry = _entry(name)
    if entry.path is not None:
        return entry.path
    folder = entry.folder
    try:
        write_text(folder / RECEIPT, json.dumps(entry.content, indent=4) + "\n")
    except WritingError as error:
        raise EngineError("download-unwritable", f"{error.message} {CACHE} sets another folder.") from error
    for number, file in enumerate(entry.files):
        target = folder / file.name
        if target.is_file() and sha256(target) == file.sha256:
            continue
        share = part(progress, number / len(entry.files), (number + 1) / len(entry.files))
        download(file.url, target, file.sha256, share, size=file.size)
    return entry.location


def add(path: str, name: str, facts: dict[str, Any]) -> Path:
    """Put a model that lies on this machine into the user's catalogue.

    Args:
        path: Of the model.
        name: By which it will be opened.
        facts: What the schema asks for beside name and path: licence, source, labels, sha256.

    Returns:
        The user's catalogue.

    Raises:
        EngineError: `catalogue-wrong`, for a name that is taken or not allowed; `catalogue-unwritable`.
    """
    if name in entries():
        raise EngineError("catalogue-wrong", f"There is a model '{name}' already. Choose another name with --name.")
    own = user_catalogue()
    check_outputs([own], [Path(path)])
    models = read_config(own)["models"] if own.exists() else []
    content = {"models": [*models, {"name": name, "path": str(Path(path).resolve()), **facts}]}
    check(content, "catalogue", str(own))
    _write(own, content)
    return own


def remove(name: str) -> None:
    """Take a model out of the user's catalogue; the model itself stays where it is.

    Raises:
        EngineError: `model-absent`; `catalogue-wrong`, for a model that comes with the program; `catalogue-unwritable`.
    """
    entry = _entry(name)
    own = user_catalogue()
    if entry.catalogue != own:
        raise EngineError("catalogue-wrong", f"The model '{name}' comes with the program and cannot be removed.")
    _write(own, {**read_config(own), "models": [one for one in read_config(own)["models"] if one["name"] != name]})


def cache_size() -> int:
    """Bytes of all downloaded models, whole or in part."""
    return sum(file.stat().st_size for folder in _downloaded() for file in folder.rglob("*") if file.is_file())


def empty_cache() -> int:
    """Delete all downloaded models.

    Returns:
        The bytes that became free.
    """
    freed = cache_size()
    for folder in _downloaded():
        shutil.rmtree(folder, ignore_errors=True)
    return freed - cache_size()


def _downloaded() -> list[Path]:
    """The folders of the cache that were made by `get`."""
    return [receipt.parent for receipt in cache_folder().glob(f"*/{RECEIPT}") if not receipt.parent.is_symlink()]


def _entry(name: str) -> Entry:
    known = entries()
    if name not in known:
        raise EngineError("model-absent", f"There is no model '{name}' in the catalogue. It has: {', '.join(known)}.")
    return known[name]


def _read(file: Path) -> dict[str, Entry]:
    content = read_config(file)
    check(content, "catalogue", str(file))
    found: dict[str, Entry] = {}
    for model in content["models"]:
        if model["name"] in found:
            raise EngineError("catalogue-wrong", f"'{file}' has two models '{model['name']}'. Rename one.")
        try:
            found[model["name"]] = entry_of(model, file)
        except UnnamedDownloadError as error:
            raise EngineError(
                "catalogue-wrong",
                f"'{file}' has the address '{str(error)[:100]}', which does not end in a file name. Add a 'name'.",
            ) from error
    return found


def _write(file: Path, content: dict[str, Any]) -> None:
    try:
        write_text(file, json.dumps(content, indent=4, ensure_ascii=False) + "\n")
    except WritingError as error:
        raise EngineError("catalogue-unwritable", f"{error.message} {CATALOGUE} sets another file.") from error
