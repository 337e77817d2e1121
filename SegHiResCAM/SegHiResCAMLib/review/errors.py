"""What is said when a study cannot be reviewed."""

from __future__ import annotations

from SegHiResCAMLib.user_error import UserError


class ReviewError(UserError):
    """A study, a form or a file of answers that cannot be used, with a code for programs and a message for the user."""
