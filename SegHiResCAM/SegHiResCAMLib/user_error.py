"""An error that the user can understand and correct; imports only the standard library."""

from __future__ import annotations

from SegHiResCAMLib.plain_text import plain


class UserError(Exception):
    """The base of every error that a user is to read.

    Args:
        code: A stable identifier in kebab-case, for programs (`volume-empty`, `segment-unknown`).
        message: What happened, to which file or object, and what to do next.
    """

    def __init__(self, code: str, message: str) -> None:
        message = plain(message)  # it quotes names out of files
        super().__init__(message)
        self.code = code
        self.message = message
