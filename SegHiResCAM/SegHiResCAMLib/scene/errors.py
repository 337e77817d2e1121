"""What the scene room says when it cannot do what it was asked."""

from __future__ import annotations

from SegHiResCAMLib.user_error import UserError


class SceneError(UserError):
    """What cannot be done with the nodes of a scene, with a message for the user."""

    def __init__(self, message: str) -> None:
        super().__init__("scene", message)
