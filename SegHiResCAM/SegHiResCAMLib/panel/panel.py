"""The module's panel: from a volume to an explained segment, one section a step.

The parameter node holds every choice; widgets named in the .ui file with SlicerParameterName follow it by themselves, and whenever it
changes, every section brings the rest in line. Nothing here waits: a timer moves the logic's jobs on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SegHiResCAMLib.panel.adoption import adopt_shown, choose_model_of
from SegHiResCAMLib.panel.check import NAME as CHECK
from SegHiResCAMLib.panel.check import CheckPart
from SegHiResCAMLib.panel.compute_on import ComputeOn
from SegHiResCAMLib.panel.explain import NAME as EXPLAIN
from SegHiResCAMLib.panel.explain import ExplainSection
from SegHiResCAMLib.panel.export import ExportSection
from SegHiResCAMLib.panel.fitting import FittedHeight, allow_narrow
from SegHiResCAMLib.panel.following import FollowingWidgets
from SegHiResCAMLib.panel.heatmaps import HeatMaps
from SegHiResCAMLib.panel.input import InputSection
from SegHiResCAMLib.panel.input_images import NAME as INPUT_IMAGES
from SegHiResCAMLib.panel.input_images import InputImagesPart
from SegHiResCAMLib.panel.live import LiveKeys
from SegHiResCAMLib.panel.markers import Markers
from SegHiResCAMLib.panel.mistakes import NAME as COMPARE
from SegHiResCAMLib.panel.mistakes import MistakesPart
from SegHiResCAMLib.panel.read import ReadSection
from SegHiResCAMLib.panel.regions import NAME as REGIONS
from SegHiResCAMLib.panel.regions import RegionsPart
from SegHiResCAMLib.panel.review import ReviewSection
from SegHiResCAMLib.panel.sample import SamplePatient
from SegHiResCAMLib.panel.sections import Sections
from SegHiResCAMLib.panel.segment import NAME as SEGMENT
from SegHiResCAMLib.panel.segment import SegmentSection
from SegHiResCAMLib.panel.set_up import SetUpSection
from SegHiResCAMLib.panel.state import State
from SegHiResCAMLib.panel.what_if import NAME as WHAT_IF
from SegHiResCAMLib.panel.what_if import WhatIfPart
from SegHiResCAMLib.panel.widgets import place_above
from SegHiResCAMLib.panel.work import Work
from SegHiResCAMLib.provenance import METHOD
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.scene.comparison import hide_comparison
from SegHiResCAMLib.scene.opened_file import adopt_opened_files
from SegHiResCAMLib.scene.overlay import hide_overlay
from SegHiResCAMLib.scene.removal import belongings, remove_nodes

if TYPE_CHECKING:
    from slicer import vtkMRMLNode, vtkMRMLScalarVolumeNode, vtkMRMLScene
    from vtk import vtkObject

OF_A_PATIENT = (SEGMENT, EXPLAIN, CHECK, REGIONS, INPUT_IMAGES, COMPARE, WHAT_IF)
"""Jobs that nobody wants any more when the patient is gone."""

SETTLED = 1000
"""Milliseconds after which the panel is there, and the processor free for the worker."""


class Panel(VTKObservationMixin):  # type: ignore[misc]
    """The sections, what they share, and the parameter node that they follow.

    Args:
        logic: A SegHiResCAMLogic.
        ui_file: Resources/UI/SegHiResCAM.ui.
        parent: The module's widget; its `isEntered` tells whether the panel is shown.
    """

    def __init__(self, logic: Any, ui_file: str, parent: Any) -> None:
        VTKObservationMixin.__init__(self)
        self.parent = parent
        self.widget = slicer.util.loadUI(ui_file)
        self._evidence = slicer.util.loadUI(str(resource("UI", "Evidence.ui")))
        place_above(self.widget, self._evidence, "exportSection")
        self.ui = slicer.util.childWidgetVariables(self.widget)
        for part in (self.widget, self._evidence):
            part.setMRMLScene(slicer.mrmlScene)
        self.state = State(logic, self.ui, Work(logic, self.ui, self._refresh), self._refresh)
        self.input = InputSection(self.state)
        self.explain = ExplainSection(self.state)
        self.read = ReadSection(self.state)
        self.markers = Markers(self.state)
        segment = SegmentSection(self.state)
        self.review = ReviewSection(self.state)
        self.sections: list[Any] = [
            self.input,
            segment,
            SamplePatient(self.state, segment.start),
            ComputeOn(self.state, self._installed),
            self.explain,
            self.markers,
            self.read,
            CheckPart(self.state),
            RegionsPart(self.state),
            InputImagesPart(self.state),
            MistakesPart(self.state, self.explain.clicked),
            WhatIfPart(self.state),
            HeatMaps(self.state),
            ExportSection(self.state),
            Sections(self.state),
            self.review,
        ]
        self.set_up = SetUpSection(self._installed)
        self.widget.layout().insertWidget(0, self.set_up.widget)
        layout = self.widget.layout()
        layout.insertWidget(layout.indexOf(self.ui.logSection), self.review.widget)
        self._fitted = FittedHeight(parent, self.widget)
        self._following = FollowingWidgets(self.ui)
        self._refreshing = False
        self._opened: set[str] = set()  # volumes whose files were looked at
        self.live = LiveKeys(self.state, self.widget, self.explain.explain_under_mouse)
        for event, react in (
            (slicer.mrmlScene.StartCloseEvent, lambda *_: self._scene_closes()),
            (slicer.mrmlScene.EndCloseEvent, lambda *_: self._scene_changed()),
            # Half a scene is no scene: whoever changes the parameters on the way would have its views changed before they are adopted.
            (slicer.mrmlScene.StartImportEvent, lambda *_: self._follow(None)),
            (slicer.mrmlScene.EndImportEvent, lambda *_: self._scene_changed()),
            (slicer.mrmlScene.NodeAddedEvent, self._node_added),
            (slicer.mrmlScene.NodeRemovedEvent, self._node_removed),
        ):
            self.addObserver(slicer.mrmlScene, event, react)
        self.enter()

    def enter(self) -> None:
        """Follow the scene's parameter node, and begin with what its views show."""
        allow_narrow(self.parent)
        self.input.look_again()
        adopt_opened_files(slicer.mrmlScene, self._opened)
        adopted = adopt_shown(self.state, slicer.mrmlScene)
        self._follow(self.state.logic.getParameterNode())
        self._watch_layout()
        if adopted is not None:
            choose_model_of(self.state, adopted)
        if self.set_up.is_needed:
            self.set_up.refresh()
        qt.QTimer.singleShot(SETTLED, self._start_worker)

    def _start_worker(self) -> None:
        """Start the worker while the user chooses; another computer is asked only when something is to be computed there."""
        if self.state.parameters is not None and not self.state.logic.computesOn and not self.set_up.is_needed:
            self.state.logic.explainer.client.start()

    def exit(self) -> None:
        """Stop following it; jobs go on, and so does the overlay, but in the Segment Editor, where segments are drawn with their fills."""
        self._follow(None)
        self.markers.leave()
        qt.QTimer.singleShot(0, self._make_room)

    def _make_room(self) -> None:
        if slicer.util.mainWindow() is not None and slicer.util.selectedModule() == "SegmentEditor":
            hide_overlay(slicer.mrmlScene)
            self.read.views.forget()

    def cleanup(self) -> None:
        """Release everything."""
        self.state.work.stop()
        self.read.views.close()
        self.set_up.close()
        self._fitted.close()
        self._follow(None)
        self.markers.leave()
        self.live.close()
        self.removeObservers()

    def _follow(self, parameters: Any) -> None:
        if self.state.parameters is not None:
            self._following.disconnect()
            self.removeObserver(self.state.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._refresh)
        self.state.parameters = parameters
        self.live.turn(False)
        if parameters is not None:
            self._following.connect(parameters)
            self.addObserver(parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self._refresh)
            self._refresh()

    def _watch_layout(self) -> None:
        """Follow the layout of the views, whoever changes it."""
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if layout is not None and not self.hasObserver(layout, vtk.vtkCommand.ModifiedEvent, self._layout_changed):
            self.addObserver(layout, vtk.vtkCommand.ModifiedEvent, self._layout_changed)
        self._layout_changed()

    def _layout_changed(self, _caller: vtkObject | None = None, _event: str | None = None) -> None:
        self.read.views.layout_changed()

    def _scene_closes(self) -> None:
        """Nothing of this patient stays for the next one: no computing, no message, no views of a comparison. What is exported is."""
        if self.state.work.name in OF_A_PATIENT:
            self.state.work.cancel()
        self.state.work.say("")
        hide_comparison(slicer.mrmlScene)
        self._follow(None)

    def _scene_changed(self) -> None:
        self._opened.clear()
        self.read.views.forget()
        if getattr(self.parent, "isEntered", False):
            self.enter()

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def _node_added(self, scene: vtkMRMLScene, _event: str, node: vtkMRMLNode) -> None:
        if self.state.parameters is None or scene.IsImporting():
            return
        if isinstance(node, slicer.vtkMRMLScalarVolumeNode):
            qt.QTimer.singleShot(0, lambda: self._volume_added(node))  # whoever adds it is not done with it yet

    def _volume_added(self, node: vtkMRMLScalarVolumeNode) -> None:
        if self.state.parameters is not None:
            adopt_opened_files(slicer.mrmlScene, self._opened)
            self.input.take(node)
            self._refresh()

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def _node_removed(self, scene: vtkMRMLScene, _event: str, node: vtkMRMLNode) -> None:
        if node in self.state.work.about and not scene.IsClosing():
            self.state.work.cancel()
            self.state.work.say(
                _("'{name}' was deleted while it was being processed, so this was cancelled.").format(
                    name=node.GetName()
                )
            )
        if isinstance(node, slicer.vtkMRMLScalarVolumeNode) and node.GetAttribute(METHOD) and not scene.IsClosing():
            left = belongings(scene, node)
            qt.QTimer.singleShot(0, lambda: self._tidy(scene, left))  # whoever removes it may be about to remove them
        self._refresh()

    def _tidy(self, scene: vtkMRMLScene, left: list[vtkMRMLNode]) -> None:
        """Remove what a heat map has left behind, and show nothing of it any more, whichever module is open."""
        remove_nodes(scene, left)
        self.read.views.let_go(self.state.choices)
        self._refresh()

    def _installed(self) -> None:
        self.input.ask_again()
        self._refresh()

    def _refresh(self, _caller: vtkObject | None = None, _event: str | None = None) -> None:
        """Bring everything in line with the parameter node. A section may change it: then all of them look again, in turn."""
        if self.state.parameters is None or self._refreshing:
            return
        self._refreshing = True
        try:
            node, seen = self.state.parameters.parameterNode, None
            while seen != node.GetMTime():
                seen = node.GetMTime()
                for section in self.sections:
                    section.refresh()
        finally:
            self._refreshing = False
        self.live.turn(self.state.parameters.live)
        self.set_up.widget.visible = not self.state.logic.computesOn
        self.ui.progressBar.visible = bool(self.state.work.name)
        if self.state.work.failed == "engine-missing" and not self.set_up.is_busy:
            self.state.work.failed = ""
            self.set_up.refresh()
