"""Tables in Markdown, with what each figure may be."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Table:
    """A heading, columns, and rows that are added one by one."""

    title: str
    columns: list[str]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """One row."""
        self.rows.append(cells)

    def __str__(self) -> str:
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return f"## {self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ratio(value: float) -> str:
    """Two digits behind the point."""
    return f"{value:.2f}"


def judged(value: float, limit: float | None) -> str:
    """A figure and its goal; bold where it misses."""
    if limit is None:
        return ratio(value)
    return f"{ratio(value)} (≤ {limit:g})" if value <= limit else f"**{ratio(value)}** (≤ {limit:g})"
