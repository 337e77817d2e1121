"""The section "Set up": what is installed, and a button that installs the rest. It is seen only while something is missing.

Checking and installing run in child processes that a timer looks at, so nothing here waits but the extension PyTorch, which installs torch with
a dialog of its own.
"""

from __future__ import annotations

import importlib
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SegHiResCAMLib.child_process import python_executable
from SegHiResCAMLib.installation.check import Report, check_command, read_report
from SegHiResCAMLib.installation.child import CANCELLED, Child
from SegHiResCAMLib.installation.diagnostics import diagnostics
from SegHiResCAMLib.installation.packages import look
from SegHiResCAMLib.installation.pip import not_installable, optional_steps, pip_steps, why_pip_failed
from SegHiResCAMLib.resources import resource

POLL_MILLISECONDS = 100
CHECK_SECONDS = 300
"""A first import of torch from a network drive may take minutes."""
LOG_LINES = 2000


class SetUpSection:
    """A widget that shows itself while something is missing.

    Args:
        on_ready: Called whenever a check has found everything.
        python: That computes and gets the packages; None for 3D Slicer's, and elsewhere this one.

    Attributes:
        widget: To put at the top of the panel; empty while nothing is missing.
        ui: Its widgets by name.
        report: What was found last; at first what metadata says, until `refresh` has tried the imports.
    """

    def __init__(self, on_ready: Callable[[], None], python: str | None = None) -> None:
        self._on_ready = on_ready
        self._python = python or python_executable()
        self.widget = slicer.util.loadUI(str(resource("UI", "SetUp.ui")))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.report = Report(tuple(look()), {})
        self._child: Child | None = None
        self._heard: list[str] = []
        self._then: Callable[[str], None] = lambda _failure: None
        self._installing = False
        self._steps: list[list[str]] = []
        self._optional: list[list[str]] = []
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._said = ""
        self._replaced: set[str] = set()
        self.ui.installButton.connect("clicked(bool)", lambda _checked: self._install_or_cancel())
        self.ui.checkButton.connect("clicked(bool)", lambda _checked: self.refresh())
        self.ui.copyButton.connect("clicked(bool)", lambda _checked: self.copy_diagnostics())
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._poll)
        self._show()

    @property
    def is_needed(self) -> bool:
        """Whether something is missing."""
        return not self.report.is_complete

    @property
    def is_busy(self) -> bool:
        """Whether it checks or installs."""
        return self._child is not None

    def refresh(self) -> None:
        """Check what is there by importing it in a child process; returns at once."""
        if not self.is_busy:
            self._said = ""
            self._check()

    def close(self) -> None:
        """End what runs."""
        self._timer.stop()
        if self._child is not None:
            self._child.kill()
            self._child = None

    # Checking and installing

    def _check(self) -> None:
        self._start(check_command(self._python), self._checked, CHECK_SECONDS)

    def _checked(self, failure: str) -> None:
        self.report = read_report(self._heard, failure)
        self._show()
        if self.report.is_complete:
            self._on_ready()

    def _install_or_cancel(self) -> None:
        if self._child is not None:
            self._child.kill()
            return
        if not slicer.util.confirmOkCancelDisplay(self._question(), windowTitle=_("Set up SegHiResCAM")):
            return
        missing = self.report.missing
        self._replaced = {one.package.module for one in missing if one.package.module in sys.modules}
        self._log.clear()
        self._said = ""
        by_extension = self._extension_is_asked() and self._install_torch_by_extension()
        self._steps = pip_steps(self.report, torch=not by_extension)
        self._optional = optional_steps(self.report)
        self._installing = True
        self._next_step()

    def _next_step(self) -> None:
        if self._steps:
            self._pip(self._steps.pop(0), self._step_done)
        elif self._optional:
            self._pip(self._optional.pop(0), self._optional_done)
        else:
            self._installing = False
            self._check()

    def _pip(self, arguments: list[str], then: Callable[[str], None]) -> None:
        self._log.append("pip " + " ".join(arguments))
        self._start([self._python, "-m", "pip", *arguments], then)

    def _optional_done(self, _failure: str) -> None:
        """Whatever became of it: the engine does without it, and the log says why it has to."""
        self._next_step()

    def _step_done(self, failure: str) -> None:
        if failure:
            self._steps, self._optional = [], []
            cancelled = failure == CANCELLED
            reason = _("Cancelled: nothing more is installed.") if cancelled else why_pip_failed(self._heard)
            self._said = "\n".join([*filter(None, [self._said]), reason])
        self._next_step()

    def _extension_is_asked(self) -> bool:
        """Whether the extension PyTorch chooses torch's build: it does so on the internet, and knows no wheelhouse."""
        is_missing = any(one.package.name == "torch" for one in self.report.missing)
        return is_missing and not self.report.offline and _pytorch_extension() is not None

    def _install_torch_by_extension(self) -> bool:
        """Have the extension PyTorch choose the build that fits the GPU. Returns whether it did: where not, pip is next."""
        logic = _pytorch_extension()
        torch = next(one for one in self.report.missing if one.package.name == "torch")
        try:
            if torch.version is not None or torch.broken:
                logic.uninstallTorch()
            logic.installTorch(askConfirmation=False, torchVersionRequirement=f">={torch.package.minimum}")
        except Exception as problem:  # noqa: BLE001 - it passes on whatever pip and the network do
            self._log.append(str(problem))
            self._said = _("The extension PyTorch could not install torch: {problem}").format(problem=problem)
            return False
        return True

    def _start(self, command: list[str], then: Callable[[str], None], limit: float | None = None) -> None:
        self._heard, self._then = [], then
        try:
            self._child = Child(command, limit)
            self._timer.start()
        except OSError as problem:
            self._steps, self._optional, self._installing = [], [], False
            self._said = _("{python} cannot be started ({problem}). Install 3D Slicer again.").format(
                python=self._python, problem=problem.strerror
            )
        self._show()

    def _poll(self) -> None:
        if self._child is None:
            self._timer.stop()
            return
        lines = self._child.poll()
        self._heard += lines
        if self._installing and lines:
            self._log.extend(lines)
            self.ui.setUpLog.plainText = "\n".join(self._log)
        if self._child.is_done:
            child, self._child = self._child, None
            self._then(child.failure)

    # Showing

    def _show(self) -> None:
        # Not the widget itself: while it has no parent yet, it would open as a window.
        self.ui.setUpCollapsibleButton.visible = self.is_needed or bool(self._to_reload)
        self.ui.setUpLabel.text = "\n".join(self._messages())
        self.ui.setUpProgress.visible = self.is_busy
        self.ui.checkButton.enabled = not self.is_busy
        self.ui.installButton.text = _("Cancel") if self._installing else _("Install what is missing")
        self.ui.installButton.enabled = self._installing or (not self.is_busy and bool(pip_steps(self.report)))
        self.ui.setUpLog.plainText = "\n".join(self._log)
        tree = self.ui.packagesTree
        tree.clear()
        for finding in self.report.findings:
            row = qt.QTreeWidgetItem()
            for column, text in enumerate((finding.package.name, finding.version or "", finding.problem or _("ready"))):
                row.setText(column, text)
            tree.addTopLevelItem(row)
        tree.resizeColumnToContents(0)

    @property
    def _to_reload(self) -> list[str]:
        """What 3D Slicer had loaded and was then installed anew."""
        return sorted(self._replaced - {finding.package.module for finding in self.report.missing})

    def _messages(self) -> list[str]:
        said = [self._said] if self._said else []
        if self.is_busy:
            busy = (
                _("Installing; this takes some minutes...") if self._installing else _("Checking what is installed...")
            )
            return [*said, busy]
        bundled = [finding.package.name for finding in not_installable(self.report)]
        if bundled:
            said.append(
                _("{names} should have come with 3D Slicer: install 3D Slicer again.").format(names=", ".join(bundled))
            )
        missing = [finding.package.name for finding in self.report.missing if not finding.package.bundled]
        if missing:
            said.append(_("To compute heat maps, 3D Slicer still needs {names}.").format(names=", ".join(missing)))
        if self._to_reload:
            names = ", ".join(self._to_reload)
            said.append(_("Restart 3D Slicer: it still uses the {names} of before.").format(names=names))
        return [*said, *self.report.advice]

    def _question(self) -> str:
        missing = [finding for finding in self.report.missing if not finding.package.bundled]
        names = ", ".join(finding.package.requirement for finding in missing)
        lines = [_("This installs into 3D Slicer's Python: {names}.").format(names=names)]
        if optional_steps(self.report):
            lines.append(_("And OpenVINO, where there is a build of it (up to 90 MB): it segments faster on a CPU."))
        replaced = [f"{finding.package.name} {finding.version}" for finding in missing if finding.version]
        if replaced:
            lines.append(_("It replaces {names}, for all of 3D Slicer.").format(names=", ".join(replaced)))
        if any(finding.package.name == "torch" for finding in missing):
            if self.report.offline:
                lines.append(_("pip uses no server, so PyTorch is installed from the folder that pip searches."))
            else:
                lines.append(_("PyTorch downloads up to 3 GB."))
            if not self.report.offline and _pytorch_extension() is None:
                lines.append(
                    _(
                        "For an NVIDIA GPU, cancel and install the extension PyTorch first: it chooses the build that fits."
                    )
                )
        return "\n\n".join(lines)

    def copy_diagnostics(self) -> None:
        """Put versions, GPU and driver on the clipboard; nothing of any patient."""
        slicer.app.clipboard().setText(diagnostics(self.report, _application(), list(self._log)))
        self._said = _("Copied: paste it where you ask for help.")
        self._show()


def _pytorch_extension() -> Any:
    """The logic of the extension PyTorch, or None."""
    try:
        return importlib.import_module("PyTorchUtils").PyTorchUtilsLogic()
    except Exception:  # noqa: BLE001 - another's module may fail in any way, and then it is not there for us
        return None


def _application() -> dict[str, str]:
    application = getattr(slicer, "app", None)
    version = getattr(application, "applicationVersion", None)
    return {"3D Slicer": str(version) if version else "none"}
