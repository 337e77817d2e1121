"""Palette colour: what red, green and blue a stored number means (DICOM PS3.3 C.7.6.3.1.5 and C.7.9.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

DISCRETE, LINEAR = 0, 1
"""Segments of a segmented table. Indirect ones (2), which copy others, are written by nobody."""


class Palette:
    """The colour table of a data set, 0 to 255: of entries of 16 bits the higher eight, as every viewer shows them.

    Args:
        dataset: As read from its file; its table may be stored as bytes in either byte order, as words, or in segments.

    Raises:
        ValueError, KeyError, AttributeError, IndexError: The table is damaged.
    """

    def __init__(self, dataset: Dataset) -> None:
        columns = [_entries(dataset, colour) for colour in ("Red", "Green", "Blue")]
        table = np.stack(columns, axis=-1)
        # Tables that claim 16 bits and fill eight are meant as they stand.
        self._table = (table >> 8 if table.max() > 255 else table).astype(np.float32)
        self._first = int(dataset.RedPaletteColorLookupTableDescriptor[1])
        if dataset.PixelRepresentation and self._first > 2**15:  # signed, whatever it was stored as
            self._first -= 2**16

    def colours(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(rows, columns, 3) of (rows, columns); numbers beyond the table take its first or last colour."""
        places = np.clip(stored.astype(np.int32) - self._first, 0, len(self._table) - 1)
        return self._table[places]


def _entries(dataset: Dataset, colour: str) -> npt.NDArray[np.uint16]:
    count, _first, bits = dataset[f"{colour}PaletteColorLookupTableDescriptor"].value
    count = count or 2**16
    plain, segmented = (f"{prefix}{colour}PaletteColorLookupTableData" for prefix in ("", "Segmented"))
    if plain in dataset:
        stored = _words(dataset, plain)
        wide = len(stored) >= count
        return np.asarray(stored[:count] if wide else _octets(stored)[:count], np.uint16)
    stored = _words(dataset, segmented)
    return _expanded(_octets(stored) if bits == 8 else stored, count)


def _words(dataset: Dataset, keyword: str) -> npt.NDArray[np.uint16]:
    """What is stored, in words of 16 bits: pydicom leaves it as bytes, in the file's order."""
    element = dataset[keyword]
    if not isinstance(element.value, bytes):
        return np.asarray(element.value, np.uint16)
    little = dataset.original_encoding[1] or element.VR == "OB"
    value = element.value + bytes(len(element.value) % 2)
    return np.frombuffer(value, "<u2" if little else ">u2")


def _octets(words: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Two entries a word, the first in its lower half."""
    return words.astype("<u2").view(np.uint8)


def _expanded(stored: npt.NDArray[np.integer[Any]], count: int) -> npt.NDArray[np.uint16]:
    data, entries, at = stored.tolist(), list[int](), 0
    while len(entries) < count and at + 1 < len(data):
        kind, length = data[at], data[at + 1]
        if kind == DISCRETE:
            entries += data[at + 2 : at + 2 + length]
            at += 2 + length
        elif kind == LINEAR and entries:
            ramp = np.linspace(entries[-1], data[at + 2], length + 1)[1:]
            entries += ramp.round().astype(int).tolist()
            at += 3
        else:
            raise ValueError(kind)
    if len(entries) < count:
        raise ValueError(count)
    return np.asarray(entries[:count], np.uint16)
