"""What the header of an NRRD file says: fields by name, key-value pairs, and where the header ends. Nothing that it names is opened here.

The format: http://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from SegHiResCAMLib.engine.images.header_text import LONGEST_HEADER
from SegHiResCAMLib.engine.images.volume_files import damaged
from SegHiResCAMLib.engine.regular_files import open_regular

_LINE = re.compile(r"(.+?)(:=|: |:$)(.*)", re.DOTALL)


@dataclass(frozen=True)
class NrrdHeader:
    """The header.

    Attributes:
        fields: Descriptions by the field's name, in small letters and without spaces ("spacedirections").
        pairs: Values by key.
        listed: Names of data files, one a line, where the header ends in a list of them.
        length: Of the header, in bytes: what is inside the file begins here.
    """

    fields: dict[str, str]
    pairs: dict[str, str]
    listed: tuple[str, ...]
    length: int


def read_nrrd_header(path: Path, name: str) -> NrrdHeader:
    """The header of a file that begins like one.

    Raises:
        EngineError: `file-damaged`, those of `open_regular`.
    """
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    listed: list[str] = []
    with open_regular(path, name) as file:
        file.readline(16)  # the magic, which brought us here
        while line := file.readline(LONGEST_HEADER - file.tell()):
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if fields.get("datafile", "").upper().startswith("LIST"):
                listed += [text] if text else []
            elif not text:
                break
            elif not text.startswith("#"):
                _take(text, fields, pairs, name)
        length = file.tell()
    if length >= LONGEST_HEADER:
        raise damaged(name, "its header does not end")
    return NrrdHeader(fields, pairs, tuple(listed), length)


def _take(text: str, fields: dict[str, str], pairs: dict[str, str], name: str) -> None:
    parts = _LINE.fullmatch(text)
    if parts is None:
        raise damaged(name, f"its header has a line that is neither a field nor a key: {text[:80]!r}")
    key, sign, value = parts.groups()
    if sign == ":=":
        pairs[key] = re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] == "n" else escaped[1], value)
        return
    key = re.sub(r"\s", "", key).lower()
    if key in fields:
        raise damaged(name, f"its header gives {key!r} twice")
    fields[key] = value.strip()
