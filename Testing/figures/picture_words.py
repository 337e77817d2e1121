"""What a picture shows, in words that are kept in the picture itself: a test compares them with what would be drawn today.

Pixels cannot be compared, since fonts differ between computers. Numbers are not compared, since they differ in their last digits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, PngImagePlugin

_KEY = "SegHiResCAM.words"
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def without_numbers(texts: Sequence[str]) -> list[str]:
    """The texts with a sign in place of each number; empty ones are left out."""
    return [_NUMBER.sub("#", text).strip() for text in texts if text.strip()]


def keep_words(picture: Path, words: Sequence[str]) -> None:
    """Write into a PNG file what it shows, in place of what it said before."""
    kept = PngImagePlugin.PngInfo()
    kept.add_text(_KEY, json.dumps(list(words)))
    with Image.open(picture) as image:
        image.load()
    image.save(picture, pnginfo=kept, optimize=True)


def kept_words(picture: Path) -> list[str]:
    """What a PNG file says that it shows; nothing where it says nothing."""
    with Image.open(picture) as image:
        image.load()
        return list(json.loads(image.info.get(_KEY, "[]")))
