"""Text from files as it may be shown: without what a terminal obeys or what turns the direction of reading; imports only the standard library."""

from __future__ import annotations

import re
import unicodedata

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_ESCAPED = {"Cf", "Cs", "Zl", "Zp"}
"""Categories of Unicode: invisible or turning the direction, half of a pair (a byte of a file name that is no UTF-8), and breaks of lines."""


def plain(text: str) -> str:
    """The text on one line: control characters are spaces, and invisible ones are written as Python escapes them."""
    text = _CONTROLS.sub(" ", text)
    return text if text.isascii() else "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    return ascii(character)[1:-1] if unicodedata.category(character) in _ESCAPED else character
