"""What is said when a study cannot be computed as it was asked."""

from __future__ import annotations

from SegHiResCAMLib.user_error import UserError


class StudyError(UserError):
    """What a study cannot do, with a code for programs and a message for the user."""
