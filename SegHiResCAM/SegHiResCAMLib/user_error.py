"""An error that the user can understand and correct; imports only the standard library."""

from __future__ import annotations

from SegHiResCAMLib.out_of_memory import is_out_of_memory, out_of_memory_message
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


def message_of(error: Exception, hint: str = "") -> str:
    """What the user reads of any error; `hint` is a sentence that follows where nobody expected it."""
    if isinstance(error, UserError):
        return error.message
    if is_out_of_memory(error):
        return out_of_memory_message(error)
    return f"An unexpected error occurred ({type(error).__name__}: {error}). {hint}".rstrip()
