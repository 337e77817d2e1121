"""Consoles that show text as it is: no markup, nothing that a terminal obeys, and whole lines where nobody looks at a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from SegHiResCAMLib.plain_text import plain

GAP = "  "
"""Between two columns."""

LEAST_ROOM = 20
"""Columns of a terminal within which a cell is still wrapped; in fewer, the terminal itself breaks the line."""

Cell = str | tuple[str, str]
"""A text, or a text and its style."""


class PlainConsole(Console):
    """Strings that are printed are cleaned, never read as markup, and never cut; on a terminal, they are wrapped between words."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As `Console.print`; a string is one line, wrapped between words on a terminal."""
        whole: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "crop": False, "no_wrap": True}
        shown = (self.wrapped(one, self.width) if isinstance(one, str) else one for one in objects)
        try:
            super().print(*shown, **whole | {"overflow": "ignore"} | options)
        except OSError:
            if not self.stderr:  # what is said about a problem is not a problem itself where nobody hears it
                raise

    def print_whole(self, text: str, style: str = "") -> None:
        """Print one line that ends in a path, to be copied: not even between words is it wrapped."""
        self.print(styled((text, style)))

    def print_titled(self, title: str, text: str, style: str = "yellow") -> None:
        """Print a text after a title that stands out."""
        line = Text(self.wrapped(f"{title} {text}", self.width))
        line.stylize(style, 0, len(plain(title)))
        self.print(line)

    def print_rows(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Print cells below each other: one line a row, of which a terminal that is too narrow wraps the last cell."""
        texts = [[styled(cell) for cell in row[:-1]] for row in rows]
        widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*texts, strict=True)]
        indent = sum(widths) + len(GAP) * len(widths)
        for cells, row in zip(texts, rows, strict=True):
            line = Text()
            for cell, width in zip(cells, widths, strict=True):
                line.append_text(cell).append(" " * (width - cell_len(cell.plain)) + GAP)
            text, style = (row[-1], "") if isinstance(row[-1], str) else row[-1]
            line.append(self.wrapped(text, self.width - indent).replace("\n", "\n" + " " * indent), style)
            line.rstrip()
            self.print(line)

    @property
    def is_watched(self) -> bool:
        """Whether it is a terminal, whatever the environment says of colours."""
        return bool(self.file.isatty())

    def wrapped(self, text: str, room: int) -> str:
        """A text, cleaned; on a terminal with line breaks between words, where there is room for any."""
        text = plain(text)
        if not self.is_watched or room < LEAST_ROOM:
            return text
        return "\n".join(textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False))


def heading(*titles: str) -> list[Cell]:
    """A first row."""
    return [(title, "bold") for title in titles]


def styled(*cells: Cell) -> Text:
    """Texts one after the other, cleaned, each in its style."""
    pairs = [(cell, "") if isinstance(cell, str) else cell for cell in cells]
    return Text.assemble(*((plain(text), style) for text, style in pairs))
