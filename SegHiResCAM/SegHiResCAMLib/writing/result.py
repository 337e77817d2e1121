"""A result of several files in a folder, which may hold files of the user's, too: put in place at once and whole, over an old result."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from SegHiResCAMLib.writing.commit import FACTS, RESULT, complete, finish, is_complete, is_result_file
from SegHiResCAMLib.writing.errors import WritingError, cannot_write, check_name, check_space
from SegHiResCAMLib.writing.inputs import check_outputs
from SegHiResCAMLib.writing.owners import NEW, is_left_behind, kind_of, place_of
from SegHiResCAMLib.writing.sweeping import sweep_folder
from SegHiResCAMLib.writing.temporary import made, make_folder_in, remove

FILES, FOLDERS = "files", "result_folders"
"""Of explanation.json: the files beside it that belong to the result, and the folders of a result that has several."""

LARGEST_FACTS = 2**24
"""Bytes; an explanation.json has some thousand."""


class ResultFolder:
    """A result that is being made: `put_in_place` it, and `close` it in any case.

    Args:
        folder: Where it will lie; it need not exist. A result that is there is replaced, other files stay.
        names: Of the files that will be written, as paths in `folder`, as far as they are known.
        inputs: Files and folders that are read.
        needed: Bytes that the result takes, roughly.
        exclusive: Whether another run that writes to the same folder is refused. A study's scheduler gives a case to one process at a time,
            and what a process on a lost computer has left there must not hold up the next.

    Attributes:
        beside: A folder that stands for `folder` until then; files are written here.

    Raises:
        WritingError: `output-is-input`, `folder-unusable`, `name-not-utf-8`, `folder-busy`, `disk-full`, `not-written`.
    """

    def __init__(
        self, folder: Path, names: Iterable[str], inputs: Iterable[Path], needed: int = 0, *, exclusive: bool = True
    ) -> None:
        check_folder(folder)
        self.folder = folder
        place = folder.absolute()
        root = next(one for one in (place, *place.parents) if one.is_dir())
        sweep_folder(root)
        self._old = old_result(folder)
        outputs = [*names, *self._old, *_present(folder / "dicom")]
        folders = {folder, *((folder / name).parent for name in outputs)}
        check_outputs([folder / name for name in outputs], inputs, folders)
        check_space(folder, needed)
        below = place.relative_to(root)
        kind = RESULT + hashlib.sha256(os.path.normcase(below).encode("utf-8", "replace")).hexdigest()[:8]
        try:
            self._hidden = make_folder_in(root, kind)
            self.beside = self._hidden / NEW / below
            self.beside.mkdir(parents=True)
        except OSError as problem:
            self.close()
            raise cannot_write(folder, problem) from problem
        if exclusive:
            self._refuse_others(root, kind)

    def _refuse_others(self, root: Path, kind: str) -> None:
        """See `folder-busy`."""
        for other in root.glob(f".seghirescam-{kind}-*"):
            if other != self._hidden and kind_of(other.name) == kind and not is_left_behind(other):
                self.close()
                raise WritingError(
                    "folder-busy",
                    f"Another run is writing to {self.folder}. Wait for it, or choose another folder. If it has ended on another computer, "
                    f"delete the folder {other}.",
                )

    def put_in_place(self) -> list[Path]:
        """Replace the old result by what is in `beside`; from then on nothing can undo it.

        Returns:
            The files in their places, sorted by name.

        Raises:
            WritingError: `disk-full` or `not-written`, and the old result is as it was; `result-delayed`.
        """
        new = sorted(path.relative_to(self.beside).as_posix() for path in self.beside.rglob("*") if path.is_file())
        try:
            self._list_files(new)
            complete(self._hidden, [name for name in self._old if name not in new])
        except OSError as problem:
            raise cannot_write(self.folder, problem) from problem
        except KeyboardInterrupt:
            if not is_complete(self._hidden):
                raise
        self._finish()
        return [self.folder / name for name in new]

    def close(self) -> None:
        """Remove what was not put in place."""
        hidden = getattr(self, "_hidden", None)
        if hidden is not None and not is_complete(hidden):
            remove(hidden)

    def _finish(self) -> None:
        """It is too late to cancel: the result is complete."""
        while is_complete(self._hidden):
            try:
                finish(self._hidden)
            except KeyboardInterrupt:
                continue
            except OSError as problem:
                made.pop(self._hidden, None)  # so that the next start finds it
                raise WritingError(
                    "result-delayed",
                    f"The result is complete, but cannot be put into {self.folder} yet ({problem.strerror}). Close other programs that "
                    "use its files; the next start of SegHiResCAM puts it there.",
                ) from problem

    def _list_files(self, names: list[str]) -> None:
        """Note in each explanation.json which files belong to it, so that the next result can replace them."""
        found = [name for name in names if name.rpartition("/")[2] == FACTS]
        folders = [name.rpartition("/")[0] for name in found]
        for name, folder in zip(found, folders, strict=True):
            path = self.beside / name
            facts = json.loads(path.read_text(encoding="utf-8"))
            start = f"{folder}/" if folder else ""
            facts[FILES] = [one.removeprefix(start) for one in names if one.startswith(start)]
            if folder:
                facts[FOLDERS] = folders
            path.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made, or cannot be written into, before anything is computed.

    Raises:
        WritingError: `folder-unusable`, `name-not-utf-8`.
    """
    check_name(folder)
    there = next(one for one in (folder, *folder.absolute().parents) if os.path.lexists(one))
    if not there.is_dir():
        raise WritingError(
            "folder-unusable", f"{folder} cannot be written to, since {there} is a file: choose another name."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise WritingError("folder-unusable", f"{folder} cannot be written to (no permission): choose another folder.")


def old_result(folder: Path) -> list[str]:
    """The files of the result that a folder holds, as paths in it; empty where it holds none."""
    facts = _facts_in(folder)
    found = [] if facts is None else _listed(folder, facts)
    with suppress(OSError):
        for part in sorted(one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()):
            facts = _facts_in(part)
            if facts is not None and part.name in _strings(facts.get(FOLDERS)):
                found += [f"{part.name}/{name}" for name in _listed(part, facts)]
    return found


def refuse_other_result(folder: Path) -> None:
    """Refuse a folder for results of another kind.

    Raises:
        WritingError: `folder-has-result`, it holds the result of an explanation.
    """
    if old_result(folder):
        raise WritingError(
            "folder-has-result",
            f"{place_of(folder)} holds the result of an explanation, which would be lost. Choose another folder.",
        )


def _listed(folder: Path, facts: dict[str, Any]) -> list[str]:
    """What an explanation.json says that belongs to it, as far as results have files of that name; all such files where it does not say."""
    if FILES not in facts:
        return _present(folder) + _present(folder / "dicom")
    names = [name for name in _strings(facts[FILES]) if name.removeprefix("dicom/").count("/") == 0]
    return [name for name in names if is_result_file(name.removeprefix("dicom/")) and (folder / name).is_file()]


def _present(folder: Path) -> list[str]:
    """The files in a folder that are called as results' are; with "dicom/" before each in the folder of that name."""
    start = "dicom/" if folder.name == "dicom" else ""
    try:
        return sorted(f"{start}{one.name}" for one in folder.iterdir() if is_result_file(one.name) and one.is_file())
    except OSError:
        return []


def _facts_in(folder: Path) -> dict[str, Any] | None:
    """What explanation.json of a folder says; None where there is none that this program wrote."""
    path = folder / FACTS
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_FACTS:
            return None
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) and ("schemaVersion" in facts or "provenance" in facts) else None


def _strings(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
