"""What the engine says when it cannot do what it was asked."""

from __future__ import annotations

from SegHiResCAMLib.user_error import UserError


class EngineError(UserError):
    """What the engine cannot do, with a code for programs and a message for the user."""


class Cancelled(Exception):  # noqa: N818 - not an error: the user asked for it
    """Raised by a progress callback to stop the work; nothing has been written when it arrives."""
