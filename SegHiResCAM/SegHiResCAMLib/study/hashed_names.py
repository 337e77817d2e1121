"""Names of cases that must not show: a hash with a secret key stands for each, wherever the study would have the name.

A hash without a key hides nothing: a patient's number has a few digits, and all of them are tried within a second. So the key is a file of the
user's, outside of the study; who has it and the table finds the case again, who has the study alone does not.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from SegHiResCAMLib.engine import images
from SegHiResCAMLib.engine.answer import mistakes
from SegHiResCAMLib.out_of_memory import is_out_of_memory
from SegHiResCAMLib.records.study import Case
from SegHiResCAMLib.study.errors import StudyError
from SegHiResCAMLib.user_error import UserError, message_of
from SegHiResCAMLib.writing.inputs import files_read
from SegHiResCAMLib.writing.temporary import temporary_folder

KEY_BYTES = 32
DIGITS = 16
"""Of a name: 64 bits, so that no two of a million cases share one."""

PATIENTS = ("subject", "subject_id", "patient", "patient_id", "participant", "participant_id", "mrn", "name")
"""Columns of a table whose values are hashed, too, whatever the case of their letters."""

ENDINGS = (
    *(".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr", ".img", ".hdr.gz", ".img.gz"),
    *(".dcm", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
)
"""That readers know; any other ending may be a part of a name."""

PAIRS = (".hdr", ".img", ".hdr.gz", ".img.gz")
"""Of files that are found by their common name; others name what belongs to them."""

SHORTEST = 3
"""Letters of a name that is looked for in messages: shorter ones occur in any word."""

WRITING_S = 5.0
"""Seconds in which another part of the study has written a key that it has begun."""


def read_key(file: Path, study: Path) -> bytes:
    """The key in a file, which is made where there is none.

    Args:
        file: With 64 hexadecimal digits.
        study: Folder that the study is in, or will be.

    Raises:
        StudyError: `key-in-study`, `key-unreadable`, `key-malformed`.
    """
    if file.resolve().is_relative_to(study.resolve()):
        raise StudyError(
            "key-in-study",
            f"The key '{file}' would lie in the study's folder, and whoever is given the study could find out the names. Choose another place.",
        )
    try:
        _make_key(file)
        end = time.monotonic() + WRITING_S
        while len(text := _head(file)) < 2 * KEY_BYTES and time.monotonic() < end:
            time.sleep(0.05)
    except OSError as problem:
        raise StudyError(
            "key-unreadable", f"The key '{file}' can be neither read nor made ({problem.strerror}). Check --hash-names."
        ) from problem
    if not re.fullmatch(rb"[0-9a-f]{%d}\s*" % (2 * KEY_BYTES), text):
        raise StudyError(
            "key-malformed",
            f"'{file}' is not a key: {2 * KEY_BYTES} hexadecimal digits. Name another file with --hash-names; one that does not exist is made.",
        )
    return bytes.fromhex(text.decode("ascii").strip())


def with_hashed_name(case: Case, key: bytes) -> Case:
    """The case under a name that says nothing of the patient; columns that identify patients are hashed with it.

    Args:
        case: As the user calls it.
        key: See `read_key`.
    """
    name = f"case-{_hash(key, case.name)}"
    own = _word(case.name)
    groups = {
        column: f"patient-{_hash(key, value)}" if value and column.strip().lower() in PATIENTS else own.sub(name, value)
        for column, value in case.groups.items()
    }
    return replace(
        case, name=name, groups=groups, is_hashed=True, own_name=case.name, salt=_hash(key, f"\0{case.name}")
    )


def failure_of(problem: Exception, case: Case) -> str:
    """Why a case failed, for its row: of a hashed one nothing that its files say, since headers and names of files may be the patient's."""
    if case.is_hashed and not is_out_of_memory(problem) and _comes_from_reading(problem):
        code = problem.code if isinstance(problem, UserError) else type(problem).__name__
        return (
            f"Its files cannot be used ({code}). The reason may quote a name, so it is not written here: 'seghirescam explain' says it of the "
            "same files."
        )
    return without_names(message_of(problem), case)


def without_names(text: str, case: Case) -> str:
    """A message about a case, without what a hashed name stands for and without paths; as it is for other cases."""
    if not case.is_hashed:
        return text
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}[/\\]seghirescam-case-[\w-]+[/\\]([\w-]+[/\\])?", "", text)
    known = [*case.files, *(str(Path(one).absolute()) for one in case.files)]
    for word in sorted({one for one in known if len(one) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(word, case.name)
    return _word(case.own_name).sub(case.name, text)


def _comes_from_reading(problem: BaseException) -> bool:
    """Whether an error was raised while an image, a reference or regions were read."""
    readers = (images.__name__, mistakes.__name__)
    return any(
        frame.f_globals.get("__name__", "").startswith(readers) for frame, _ in traceback.walk_tb(problem.__traceback__)
    )


@contextmanager
def linked(case: Case) -> Iterator[Case]:
    """A case whose files have names that messages may quote: where a name or path may be the patient's, links that are called as the case is.

    Raises:
        OSError: The computer's temporary folder cannot be written to, or has no links.
    """
    if not case.is_hashed:
        yield case
        return
    with temporary_folder("case") as folder:
        images = tuple(
            _link(Path(image), folder, f"{case.name}{f'-{number}' if number else ''}")
            for number, image in enumerate(case.images)
        )
        reference, regions = (
            None if path is None else _link(Path(path), folder, f"{case.name}-{role}")
            for role, path in (("reference", case.reference), ("regions", case.regions))
        )
        yield replace(case, images=images, reference=reference, regions=regions)


def _link(path: Path, folder: Path, name: str) -> str:
    """A link to a file or folder, in a folder of its own. What belongs to a file is copied there, since readers follow no link that a file names."""
    own = folder / name
    own.mkdir()
    ending = _ending(path)
    link = own / f"{name}{ending}"
    link.symlink_to(path.absolute(), target_is_directory=path.is_dir())
    for file in [] if path.is_dir() else files_read(path):
        if file.parent == path.parent and file != path and file.is_file():
            start = path.name[: len(path.name) - len(ending)]
            is_pair = file.name == f"{start}{_ending(file)}"
            there = own / (f"{name}{_ending(file)}" if is_pair and ending in PAIRS else file.name)
            if not os.path.lexists(there):
                shutil.copyfile(file, there)
    return str(link)


def _ending(path: Path) -> str:
    found = max((one for one in ENDINGS if path.name.lower().endswith(one)), key=len, default="")
    return path.name[len(path.name) - len(found) :] if found and path.is_file() else ""


def _make_key(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        new = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(new, "wb") as opened:
        opened.write(secrets.token_hex(KEY_BYTES).encode("ascii") + b"\n")


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(2 * KEY_BYTES + 2)


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:DIGITS]


def _word(name: str) -> re.Pattern[str]:
    """Finds a name where it stands by itself; nothing where it is too short to be told from other words."""
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)" if len(name) >= SHORTEST else r"(?!)", re.IGNORECASE)
