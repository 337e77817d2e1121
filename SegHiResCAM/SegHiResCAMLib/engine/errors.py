"""What the engine says when it cannot do what it was asked."""

from __future__ import annotations

from SegHiResCAMLib.plain_text import plain


class EngineError(Exception):
    """Something the user can understand and mend.

    Args:
        code: A stable identifier in kebab-case, for programs (`volume-empty`, `segment-unknown`).
        sentence: For the user: what is wrong, where, and what to do.
    """

    def __init__(self, code: str, sentence: str) -> None:
        sentence = plain(sentence)  # it quotes names out of files
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class Cancelled(Exception):  # noqa: N818 - not an error: the user asked for it
    """Raised by a progress callback to stop the work; nothing has been written when it arrives."""
