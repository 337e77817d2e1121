"""Widgets that follow the parameter node by themselves, and let go of it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class FollowingWidgets:
    """Connects widgets to parameters and leaves nothing on their node afterwards.

    3D Slicer before 5.12 leaves an observer there that its parameters can be reached by only through Python. Once they are no longer used, Python's garbage
    collector empties that observer, while VTK still calls it: the node's next change, such as that of a closing scene, would end the application.

    Args:
        ui: The widgets by name.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._release: Callable[[], None] | None = None

    def connect(self, parameters: Any) -> None:
        """Let the widgets follow the parameters, and them the widgets."""
        node, tags = parameters.parameterNode, []

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
