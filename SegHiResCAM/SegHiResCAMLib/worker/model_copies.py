"""A model that lies on this computer, on its way to the one that computes: sent once, and known there by the SHA-256 of its files.

Only the files that make up a model are sent, never what else lies beside them: a training's folder holds predictions of patients. On the other
computer, copies lie in the cache of downloaded models, which `seghirescam models clear` empties.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from SegHiResCAMLib.model_folders import RECEIPT, cache_folder
from SegHiResCAMLib.user_error import UserError
from SegHiResCAMLib.worker.frames import Place, sha256_of
from SegHiResCAMLib.worker.protocol import ModelFile, SendModel

PLANS, FINAL, BEST = "plans.json", "checkpoint_final.pth", "checkpoint_best.pth"

CONFIGS = tuple(f"configs/{name}.{ending}" for name in ("inference", "metadata") for ending in ("json", "yaml", "yml"))

IN_A_FOLDER = (
    *(*CONFIGS, "models/[!.]*", "model.pt", "labels.csv", "*/model.pt", "*/labels.csv"),
    *(
        f"{above}{name}"
        for above in ("", "*__*/", "Dataset*/*__*/")
        for name in (PLANS, "dataset.json", f"fold_*/{FINAL}", f"fold_*/{BEST}")
    ),
)
"""Where the formats that can be opened keep what they consist of."""

WEIGHTS = (".pt", ".pth", ".pth.tar", ".ckpt", ".bin", ".safetensors")
"""How files with weights are named that have a description beside them."""

MOST_FILES = 1000

_LICENCE = re.compile(r"(licen[cs]e|copying)([-_.](model|weights))?(\.(txt|md|rst))?", re.IGNORECASE)
_FOLD = re.compile(r"fold_(?:\d{1,3}|all)")


class NotSentError(UserError):
    """A model cannot be sent."""

    def __init__(self, message: str) -> None:
        super().__init__("model-not-sent", message)


def offer(path: Path, check: Callable[[], None]) -> tuple[SendModel, dict[str, Path]]:
    """What is sent of a model.

    Args:
        path: File or folder that a user calls the model.
        check: Called every few megabytes; what it raises stops the work.

    Returns:
        The offer, and the files by the names in it.

    Raises:
        NotSentError: See there.
        OSError: A file cannot be read.
    """
    root, found = _parts(path.absolute())
    files = {file.relative_to(root.parent).as_posix(): file for file in found}
    listed = tuple(ModelFile(name, file.stat().st_size, sha256_of(file, check)) for name, file in files.items())
    return SendModel(path.absolute().relative_to(root.parent).as_posix(), listed), files


def fingerprint(path: Path) -> tuple[object, ...]:
    """Changes when any file of a model does; takes no time."""
    stats = ((str(file), file.stat()) for file in _parts(path.absolute())[1])
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def places_for(offered: SendModel) -> tuple[Path, dict[str, Place]]:
    """On the computer that computes: where a model lies then, and the places of its files that are not there yet.

    Raises:
        NotSentError: A name is not one inside a folder.
        OSError: The cache cannot be written to.
    """
    names = [offered.opened, *(one.name for one in offered.files)]
    if len(names) > MOST_FILES or not all(map(_is_inside, names)):
        raise NotSentError("The model that was sent has files outside of its folder, so it was refused.")
    content = json.dumps([offered.opened, *([one.name, one.sha256] for one in offered.files)])
    folder = cache_folder() / f"sent-{hashlib.sha256(content.encode()).hexdigest()[:32]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECEIPT).write_text(content, encoding="utf-8")
    missing = {}
    for one in offered.files:
        target = folder / one.name
        if not target.is_file() or target.stat().st_size != one.size:
            target.parent.mkdir(parents=True, exist_ok=True)
            missing[one.name] = Place(target, one.size, one.sha256)
    return folder / offered.opened, missing


def _is_inside(name: str) -> bool:
    """Whether a name with slashes leads to a place inside any folder, on any system."""
    parts = PurePosixPath(name).parts
    plain = bool(parts) and not any(character in name for character in '\\:\0*?"<>|')
    return plain and len(name) < 1000 and not name.startswith("/") and ".." not in parts


def _parts(path: Path) -> tuple[Path, list[Path]]:
    """The folder that holds all files of a model, and the files."""
    folder = path if path.is_dir() else path.parent
    if _FOLD.fullmatch(folder.name) and (folder.parent / PLANS).is_file():
        root = folder.parent
        weights = [folder / FINAL, folder / BEST] if path.is_dir() else [path]
        found = {root / PLANS, root / "dataset.json", *weights}
    elif path.is_dir():
        root = path
        found = {file for pattern in IN_A_FOLDER for file in root.glob(pattern)}
    else:
        root = folder.parent if any((folder.parent / name).is_file() for name in CONFIGS) else folder
        found = set(_around(path))
    found |= {file for file in {*root.iterdir(), *folder.iterdir()} if _LICENCE.fullmatch(file.name)}
    files = sorted(file for file in found if file.is_file() and not _is_second_best(file, path))
    if len(files) > MOST_FILES:
        raise NotSentError(f"'{path}' has {len(files)} files, too many for a model. Give the model's own folder.")
    for file in files:
        if not file.resolve().is_relative_to(root.resolve()):
            raise NotSentError(
                f"'{file}' is a link that leads out of the model's folder, so it is not sent. Put the file itself there, or copy the model to "
                "the computer that computes and give its path there."
            )
    return root, files


def _is_second_best(file: Path, path: Path) -> bool:
    """Whether no reader opens a checkpoint, because training has left a better one beside it."""
    return file.name == BEST and file != path and file.with_name(FINAL).is_file()


def _around(path: Path) -> Iterator[Path]:
    """A file, and what describes it; of a description, the weights that it is about."""
    yield path
    if path.suffix.lower() == ".json":
        yield from (path.with_suffix(ending) for ending in WEIGHTS)
        yield from _named_weights(path)
    else:
        ending = max((end for end in WEIGHTS if path.name.lower().endswith(end)), key=len, default=path.suffix)
        yield path.with_name(f"{path.name[: len(path.name) - len(ending)]}.json")
    if path.name == "model.pt":
        yield path.with_name("labels.csv")
    for folder in (path.parent, path.parent.parent):
        yield from (folder / name for name in CONFIGS)


def _named_weights(description: Path) -> Iterator[Path]:
    try:
        content = json.loads(description.read_bytes()[: 2**24])
    except (ValueError, RecursionError):
        return  # the reader says what is wrong with it
    named = content.get("weights") if isinstance(content, dict) else None
    if isinstance(named, str) and named == Path(named).name and named.lower().endswith(WEIGHTS):
        yield description.with_name(named)
