"""Zip archives from strangers, unpacked into a folder of their own within bounds."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.untrusted.received import check_received
from SegHiResCAMLib.writing.temporary import temporary_folder

MAX_BYTES = 32 << 30
MAX_RATIO = 100
"""Weights hardly shrink, text shrinks twentyfold; a bomb shrinks a thousandfold."""
FREE_BYTES = 64 << 20
"""What may unpack to this is no bomb, however small it was packed."""
MAX_FILES = 10_000
MAX_PARTS = 32

_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ARCHIVES = frozenset({".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz"})

# What file managers leave behind.
_LITTER = re.compile(r"(^|/)(__MACOSX(/.*)?|\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini)$")


@contextmanager
def unpacked(source: str) -> Iterator[Path]:
    """A folder with what the zip archive `source` holds, removed afterwards; a folder is given as it is.

    Folders that hold nothing but one folder are looked through, so the result is the model's own. Messages raised inside the `with` name
    files as "model.zip/configs/inference.json".

    Args:
        source: A folder or a zip archive, as the user gave it.

    Raises:
        EngineError: `archive-…`: it is absent, empty, a Git LFS pointer, no zip archive, damaged, encrypted, or holds links, files that would
            land outside of it, other archives only, or more than it may.
    """
    if Path(source).is_dir():
        yield Path(source)
        return
    with temporary_folder("archive") as temporary:
        root = temporary
        _unpack(source, root)
        folder = _look_through(root)
        try:
            yield folder
        except EngineError as error:
            message = error.message.replace(str(folder), source).replace(str(root), source)
            raise EngineError(error.code, message) from error


def is_zip(path: Path) -> bool:
    """Whether a file starts as zip archives do; PyTorch's checkpoints are zip archives, too."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) in _SIGNATURES


def files_in(source: str) -> tuple[str, ...]:
    """The files in a zip archive as `unpacked` lays them out: "configs/inference.json". Nothing is unpacked.

    Raises:
        EngineError: As `unpacked`.
    """
    with _opened(source) as archive:
        files = ["/".join(_parts(entry)) for entry in _checked(archive, source)]
    while len(tops := {name.partition("/")[0] for name in files}) == 1 and all("/" in name for name in files):
        files = [name.removeprefix(f"{next(iter(tops))}/") for name in files]
    return tuple(files)


@contextmanager
def _opened(source: str) -> Iterator[zipfile.ZipFile]:
    check_received(Path(source), "archive", "archive")
    if not is_zip(Path(source)):
        raise _refusal("unknown", source, "is not a zip archive", "Unpack it and give the folder")
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError) as error:
        raise _refusal("damaged", source, "is truncated or damaged", "Copy or download it again") from error


def _checked(archive: zipfile.ZipFile, source: str) -> list[zipfile.ZipInfo]:
    """The files to unpack, none of which can do harm."""
    entries = archive.infolist()
    if len(entries) > MAX_FILES:
        raise _refusal("large", source, f"holds more than {MAX_FILES} files", "Ask for the model's own files alone")
    for entry in entries:
        _check_entry(entry, source)
    files = [entry for entry in entries if not entry.is_dir() and not _LITTER.search("/".join(_parts(entry)))]
    if not files:
        raise _refusal("empty", source, "holds no files", "Copy or download it again")
    if all(Path(entry.filename).suffix.lower() in _ARCHIVES for entry in files):
        name = files[0].filename[:100]
        raise _refusal("nested", source, f"holds another archive, '{name}'", "Unpack it and give what is inside")
    total = sum(entry.file_size for entry in files)
    if total > min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * Path(source).stat().st_size)):
        raise _refusal(
            "large",
            source,
            f"would unpack to {total / 1e9:.1f} GB, far more than a model's archive of its size would",
            "Unpack it yourself if you trust it, and give the folder",
        )
    return files


def _check_entry(entry: zipfile.ZipInfo, source: str) -> None:
    name = entry.filename
    shown = repr(name[:100])
    parts = _parts(entry)
    if re.search(r"[:\x00-\x1f]", entry.orig_filename) or name.startswith(("/", "\\")) or ".." in parts:
        raise _refusal("outside", source, f"holds {shown}, which would be written outside its folder", _DISTRUST)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refusal("link", source, f"holds {shown}, which is a link, not a file", _DISTRUST)
    if len(parts) > MAX_PARTS:
        raise _refusal("nested", source, f"nests folders more than {MAX_PARTS} deep", _DISTRUST)
    if entry.flag_bits & 1:
        raise _refusal("encrypted", source, "is protected by a password", "Unpack it and give the folder")
    if entry.compress_type not in _PACKINGS:
        raise _refusal("unknown", source, "is packed in an unusual way", "Unpack it and give the folder")


_DISTRUST = "Do not unpack it; ask the model's author for an archive of the model's own files alone"


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    """The path in the archive; some Windows programs write backslashes."""
    return [part for part in entry.filename.replace("\\", "/").split("/") if part not in ("", ".")]


def _unpack(source: str, folder: Path) -> None:
    with _opened(source) as archive:
        files = _checked(archive, source)
        if sum(entry.file_size for entry in files) > shutil.disk_usage(folder).free:
            raise _refusal("large", source, f"does not fit on the disk of '{folder.parent}'", "Free some space there")
        for entry in files:
            target = folder.joinpath(*_parts(entry))
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                # A forged size ends in a checksum error: no more bytes are read than the archive's directory names.
                with archive.open(entry) as packed, target.open("xb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
            except FileExistsError as error:
                raise _refusal("damaged", source, f"holds {entry.filename[:100]!r} twice", _DISTRUST) from error
            except OSError as error:
                problem = f"cannot be unpacked: {error.strerror or 'its content cannot be read'}"
                raise _refusal("damaged", source, problem, "Unpack it yourself and give the folder") from error


def _look_through(folder: Path) -> Path:
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder


def _refusal(code: str, source: str, problem: str, advice: str) -> EngineError:
    return EngineError(f"archive-{code}", f"The archive '{source}' {problem}. {advice}.")
