"""The licence in a file beside a model."""

from __future__ import annotations

import re
from pathlib import Path

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.regular_files import open_regular

MAX_BYTES = 1 << 16

_NAMES = re.compile(r"(licen[cs]e|copying)([-_.](model|weights))?(\.(txt|md|rst))?", re.IGNORECASE)

# What is said near the top of well-known licences, and their SPDX identifiers; the first that is found.
_KNOWN = (
    (r"Apache License\s+Version 2\.0", "Apache-2.0"),
    (r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3", "AGPL-3.0"),
    (r"GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3", "LGPL-3.0"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 3", "GPL-3.0"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 2", "GPL-2.0"),
    (r"Mozilla Public License,? Version 2\.0", "MPL-2.0"),
    (r"\bMIT License|Permission is hereby granted, free of charge", "MIT"),
    (r"BSD 3-Clause|Neither the name of", "BSD-3-Clause"),
    (r"BSD 2-Clause", "BSD-2-Clause"),
    (r"CC0 1\.0|Creative Commons Zero", "CC0-1.0"),
    (r"Attribution-NonCommercial-ShareAlike 4\.0", "CC-BY-NC-SA-4.0"),
    (r"Attribution-NonCommercial-NoDerivatives 4\.0|Attribution-NonCommercial-NoDerivs 4\.0", "CC-BY-NC-ND-4.0"),
    (r"Attribution-NonCommercial 4\.0", "CC-BY-NC-4.0"),
    (r"Attribution-ShareAlike 4\.0", "CC-BY-SA-4.0"),
    (r"Attribution 4\.0", "CC-BY-4.0"),
)


def licence_beside(folder: Path, said: str = "") -> str:
    """A model's licence: what its description says; where that says nothing or points to a file, that of the licence file in `folder`.

    Args:
        folder: Where the model's own files are.
        said: By the description.

    Returns:
        An SPDX identifier where the text is well known, else its first line; empty where there is no such file.
    """
    if said and not re.match(r"see\b", said, re.IGNORECASE):
        return said
    try:
        found = next((file for file in sorted(folder.iterdir()) if _NAMES.fullmatch(file.name)), None)
        if found is None:
            return said
        with open_regular(found, f"'{found}'") as file:
            text = file.read(MAX_BYTES).decode("utf-8", errors="replace")
    except (EngineError, OSError):
        return said
    known = next((name for pattern, name in _KNOWN if re.search(pattern, text, re.IGNORECASE)), None)
    first = next((" ".join(line.split()) for line in text.splitlines() if line.strip(" #=-*")), "")
    return known or first[:100] or said
