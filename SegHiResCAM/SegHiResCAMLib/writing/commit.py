"""Putting a result in place so that it is old or new, whole, whatever happens in between.

A result is made in a hidden folder beside its place. When all of it is on the disk, a plan is written into that folder: from then on the
result is complete, and nothing can undo it. What follows are renames, which can be repeated: whoever finds a folder with a plan finishes it,
and whoever finds one without removes it.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from SegHiResCAMLib.writing.owners import NEW, is_left_behind, is_own, kind_of, this_process
from SegHiResCAMLib.writing.temporary import hidden_name, made, remove

PLAN = "complete.json"
FACTS = "explanation.json"

RESULT = "result"
"""What the kind of a result's folder begins with; a token of its place follows."""

_OURS = re.compile(
    r"(explanation|case)\.json|viewer\.html|(heatmap(-sd)?|signed-map|segmentation|phantom|around)(\.seg)?\.(nrrd|nii\.gz)|(overlay|comparison)\.png"
    r"|scene\.mrb|(measurements|regions|agreement|mistakes|check|inputs)\.csv|check\.png|(heatmap|segmentation|picture-\d{4,})\.dcm"
)
_ABANDONED = 60
"""Seconds after which a complete result of another computer may be finished from here: it takes moments."""


def is_result_file(name: str) -> bool:
    """Whether a file is called as one that results have; nothing else is ever removed from a user's folder."""
    return _OURS.fullmatch(name) is not None


def is_complete(folder: Path) -> bool:
    """Whether the result in a hidden folder is to be put in place."""
    return (folder / PLAN).is_file()


def complete(folder: Path, removed: Sequence[str]) -> None:
    """Make what a hidden folder holds the result. From here on it will be put in place.

    Args:
        folder: All files are in its subfolder `NEW`, at the paths that they are to have from its parent on.
        removed: Files of the old result that the new one does not have, as paths from its parent on.

    Raises:
        OSError: The disk is full, or something that is in use cannot be replaced. The old result is as it was.
    """
    root, new = folder.parent, folder / NEW
    for path in [*sorted(new.rglob("*")), new]:
        place = root / path.relative_to(new)
        if os.path.lexists(place) and place.is_dir() != path.is_dir():
            raise FileExistsError(17, "a folder and a file have the same name", str(place))
        if path.is_dir() and path != new and place.is_symlink():
            raise FileExistsError(17, "a link has the name of a folder of the result", str(place))
        if path.is_file() and place.is_file():
            place.rename(
                place
            )  # Windows refuses here what it would refuse halfway through: a file that is open elsewhere
        _flush(path)
    plan = folder / f"{PLAN}.part"
    plan.write_text(json.dumps({"remove": list(removed)}), encoding="utf-8")
    _flush(plan)
    plan.replace(folder / PLAN)
    _flush(folder)


def finish(folder: Path) -> None:
    """Put a complete result in place and remove its hidden folder. It may have been begun, and may be repeated.

    Raises:
        OSError: Something that is in use cannot be replaced. The next start tries again.
    """
    root = folder.parent
    _move(folder / NEW, root)
    for name in json.loads((folder / PLAN).read_text(encoding="utf-8"))["remove"]:
        path = PurePosixPath(name)
        inside = not path.is_absolute() and ".." not in path.parts
        if inside and is_result_file(path.name) and not _is_behind_link(root, path):
            (root / path).unlink(missing_ok=True)
            for above in path.parents:
                with suppress(OSError):  # other files are in it
                    if above != PurePosixPath():
                        (root / above).rmdir()
    _flush(root)
    remove(folder)


def _is_behind_link(root: Path, path: PurePosixPath) -> bool:
    """Whether a folder between a root and a path in it is a link, which may lead to other people's files."""
    return any((root / above).is_symlink() for above in path.parents if above != PurePosixPath())


def recover(folder: Path) -> None:
    """Finish or remove what a process that has ended left behind; whatever else a path is stays as it is."""
    kind = kind_of(folder.name)
    if not kind or folder in made or folder.is_symlink() or not folder.is_dir() or not is_own(folder):
        return
    if not is_left_behind(folder) and not (is_complete(folder) and _is_abandoned(folder)):
        return
    claimed = hidden_name(folder.parent, kind)
    try:
        folder.rename(claimed)  # only one of several that find it succeeds
        if is_complete(claimed):
            finish(claimed)
    except (OSError, ValueError, KeyError):
        made.pop(claimed) if is_complete(claimed) else remove(claimed)
    else:
        remove(claimed)


def _is_abandoned(folder: Path) -> bool:
    """Whether nobody works on a complete result any more: this process has left it, or another computer has for a while."""
    own = this_process()
    if f"-{own.host}-{own.pid}-{own.start}-" in folder.name:
        return True
    return f"-{own.host}-" not in folder.name and time.time() - folder.stat().st_mtime > _ABANDONED


def _move(source: Path, target: Path) -> None:
    """Move all there is in a folder into another one, over files of the same names."""
    try:
        entries = sorted(source.iterdir())
    except FileNotFoundError:
        return
    for path in entries:
        place = target / path.name
        if path.is_dir() and place.is_dir() and not place.is_symlink():  # a link may lead to other people's files
            _move(path, place)
        else:
            path.replace(place)


def _flush(path: Path) -> None:
    """Bring a file or folder to the disk itself."""
    if path.is_dir() and os.name == "nt":
        return  # which Windows does by itself
    number = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(number)
    except OSError as problem:
        if not path.is_dir() or problem.errno not in (22, 95, 1):  # some network disks cannot do so with folders
            raise
    finally:
        os.close(number)
