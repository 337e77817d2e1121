"""Widgets connected to the parameter node, and disconnected without leaving an observer on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class FollowingWidgets:
    """Connects widgets to parameters and leaves nothing on their node afterwards.

    3D Slicer before 5.12 leaves an observer there, whose function refers to the parameters, and they to the node. Once nobody else does, Python's garbage
    collector empties the function, but VTK still calls it: the node's next change, such as when the scene is closed, would end the application.

    Args:
        ui: The widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._release: Callable[[], None] | None = None

    def connect(self, parameters: Any) -> None:
        """Let the widgets follow the parameters, and them the widgets."""
        node = parameters.parameterNode
        tags: list[int] = []

        def observe(event: Any, callback: Any, priority: float = 0.0) -> int:
            tags.append(node.AddObserver(event, callback, priority))
            return tags[-1]

        parameters.AddObserver = observe  # what connectGui calls
        gui = parameters.connectGui(self._ui)
        del parameters.AddObserver

        def release() -> None:
            parameters.disconnectGui(gui)
            for tag in tags:
                node.RemoveObserver(tag)  # nothing where it is gone

        self._release = release

    def disconnect(self) -> None:
        """Undo `connect`."""
        if self._release is not None:
            self._release()
            self._release = None
