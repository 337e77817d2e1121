"""What runs: the job that the user waits for, its progress, and the timer that moves all jobs on. Nothing here waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from SegHiResCAMLib.scene.errors import SceneError

POLL_MILLISECONDS = 50

Begin = Callable[..., Any]
"""Starts a job with the callbacks on_progress, on_done and on_error."""


class Work:
    """At most one job that the user waits for, and any number that nobody does.

    Args:
        logic: A SegHiResCAMLogic.
        ui: The panel's widgets; shows progress, messages and the log.
        changed: Called whenever a job has begun or ended.

    Attributes:
        name: Of the job that the user waits for; empty while there is none.
        about: The nodes that this job is about: without one of them, nobody wants its result.
        failed: Code of the error that the last such job ended with; empty where it ended well.
    """

    def __init__(self, logic: Any, ui: Any, changed: Callable[[], None]) -> None:
        self.name = ""
        self.failed = ""
        self.about: tuple[Any, ...] = ()
        self._logic, self._ui, self._changed = logic, ui, changed
        self._job: Any = None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._poll)

    def start(self, name: str, begin: Begin, done: Callable[[Any], None], about: tuple[Any, ...] = ()) -> None:
        """Begin a job that the user waits for; what cannot begin is said, and nothing else happens."""
        self.failed = ""
        try:
            self._job = begin(
                on_progress=self._progressed, on_done=lambda result: self._ended(done, result), on_error=self._erred
            )
        except SceneError as problem:
            self.say(problem.message)
            return
        self.name, self.about = name, about
        self._ui.progressBar.value = 0
        self._timer.start()
        self._changed()

    def ask(self, begin: Begin, done: Callable[[Any], None]) -> None:
        """Begin a job that nobody waits for; its failure is in the log."""
        begin(on_done=done)
        self._timer.start()

    def cancel(self) -> None:
        """Give up the job that the user waits for; it ends at once."""
        if self._job is not None:
            self._logic.explainer.cancel(self._job)

    def say(self, message: str) -> None:
        """Show a message."""
        self._ui.statusLabel.text = message

    def stop(self) -> None:
        """Look at jobs no more."""
        self._timer.stop()

    def _poll(self) -> None:
        self._logic.poll()
        if not self._logic.explainer.is_busy:
            self._timer.stop()

    def _progressed(self, fraction: float, text: str, remaining: float | None) -> None:
        self._ui.progressBar.value = round(fraction * 1000)
        left = "" if remaining is None else _(", about {seconds} s left").format(seconds=round(remaining))
        self.say(text + left)

    def _ended(self, done: Callable[[Any], None], result: Any) -> None:
        self._let_go()
        done(result)
        self._changed()

    def _erred(self, error: Any) -> None:
        self.failed = error.code
        self._let_go()
        self.say(error.message)
        self._changed()

    def _let_go(self) -> None:
        self._job, self.name, self.about = None, "", ()
        self._ui.logText.plainText = self._logic.explainer.client.log_tail()
