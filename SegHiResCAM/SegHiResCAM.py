"""The Slicer module SegHiResCAM: registration, parameters and scripting; the panel, the computing and the scene are in SegHiResCAMLib."""

import sys
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)


class SegHiResCAM(ScriptedLoadableModule):
    """Metadata for 3D Slicer's module menu."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "SegHiResCAM"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["SegHiResCAM developers"]
        parent.helpText = _(
            "Why did the network segment this? Heat maps (class activation maps) of segmentation networks, laid over CT and MR volumes. For research use; not for diagnostic use. A heat map shows what the network's output depended on."
        )
        parent.acknowledgementText = _(
            "Seg-HiRes-Grad CAM was introduced by Rheude et al., Machine Learning for Biomedical Imaging 2024:023 (https://melba-journal.org/2024:023). Networks are built with MONAI and PyTorch."
        )
        slicer.app.connect("startupCompleted()", onStartupCompleted)


GRACE = 1.0  # seconds of a cancelled request: its end takes two at most, with that of a process that does not listen


class SegHiResCAMLogic(ScriptedLoadableModuleLogic):
    """Scripting without the panel.

    An example::

        logic = slicer.util.getModuleLogic("SegHiResCAM")
        segmentation = logic.segment(volumeNode, "/models/kits19")
        heatmap = logic.explain(volumeNode, "/models/kits19", "tumour", segmentationNode=segmentation)
        logic.showOverlay(heatmap, opacity=0.6)
        logic.evidence.check(heatmap, "/models/kits19")
        logic.export(heatmap, "/results/why-tumour")

    Computing happens in a process of its own, which keeps model and volume for the next request. With ``wait=False`` a request returns a
    job at once; ``onDone``, ``onError`` and ``onProgress`` are called from ``poll()``, which a timer calls.
    """

    def __init__(self, command: list[str] | None = None):
        super().__init__()
        from SegHiResCAMLib.logic.evidence_scripting import EvidenceScripting
        from SegHiResCAMLib.logic.explainer import Explainer
        from SegHiResCAMLib.worker.client import Client

        self._command = command
        self.computesOn = ""
        self.explainer = Explainer(Client(command, grace=GRACE))
        self.evidence = EvidenceScripting(self.explainer)

    def computeOn(self, address=""):
        """Compute on another computer from now on (``user@host``, over ssh), or on this one; raises UserError."""
        from SegHiResCAMLib.worker.client import Client

        self.explainer.use(Client(self._command, on=address, grace=GRACE))
        self.computesOn = address

    def getParameterNode(self):
        """The typed parameter node of the scene."""
        from SegHiResCAMLib.panel.parameters import SegHiResCAMParameterNode

        return SegHiResCAMParameterNode(super().getParameterNode())

    def segment(self, volumeNode, modelPath, *, mode="auto", axis="auto", device="auto", wait=True, **callbacks) -> Any:
        """Outline what a model knows.

        :param callbacks: onProgress(fraction, text, secondsLeft), onDone(node), onError(error).
        :returns: vtkMRMLSegmentationNode beside the volume; with ``wait=False`` the job.
        :raises ExplainerError: the message says what is wrong and what to do.
        """
        from SegHiResCAMLib.logic.scripting import snake_case
        from SegHiResCAMLib.records.question import SegmentOptions

        options = SegmentOptions(mode=mode, axis=axis, device=device)
        job = self.explainer.segment(volumeNode, str(modelPath), options, **snake_case(callbacks))
        return self.explainer.wait(job) if wait else job

    def explain(
        self, volumeNode, modelPath, segmentName, *, segmentationNode=None, pixelSet=None, wait=True, **options
    ) -> Any:
        """Explain why a model outlined a segment.

        :param segmentationNode: what the heat map belongs to.
        :param pixelSet: id of a segment in it to explain in place of the voxels that the model itself outlines; or a place, as
            ``{"kind": "sphere", "centre": [40, -12, 830], "radius": 8}`` in the volume's own RAS millimetres.
        :param options: method, layer, contrast, refineWith, mode, axis, device and all other fields of ``Question``; ``further``, volumes that
            are the model's further channels; ``referenceNode``, for mistakes; and callbacks as for ``segment``.
        :returns: the heat map, a vtkMRMLScalarVolumeNode beside the volume; with ``wait=False`` the job.
        :raises SceneError, ExplainerError: the message says what is wrong and what to do.
        """
        from SegHiResCAMLib.logic.scripting import asked_by_script

        job = self.explainer.explain(
            volumeNode,
            str(modelPath),
            segmentation=segmentationNode,
            **asked_by_script(segmentName, pixelSet, options),
        )
        return self.explainer.wait(job) if wait else job

    def poll(self):
        """Move jobs on that were started with ``wait=False``."""
        self.explainer.poll()

    def showOverlay(self, heatmapNode, *, visible=True, opacity=0.5, jump=True):
        """Show a heat map over its volume, visible segmentations as outlines, and jump to its peak; or show again what was there before."""
        from SegHiResCAMLib.scene.heatmap import INPUT_VOLUME, peak_position
        from SegHiResCAMLib.scene.overlay import hide_overlay, jump_slices, show_overlay

        if not visible:
            hide_overlay(slicer.mrmlScene)
            return
        volume = heatmapNode.GetNodeReference(INPUT_VOLUME) or heatmapNode
        show_overlay(slicer.mrmlScene, volume, heatmapNode, opacity)
        if jump:
            jump_slices(slicer.mrmlScene, peak_position(heatmapNode).position)

    def export(self, heatmapNode, folder, *, fileFormat="nrrd", opacity=0.5, wait=True, **callbacks) -> Any:
        """Write a heat map ("nrrd" or "nii.gz"), its segmentation, picture, table and provenance into a folder.

        :returns: the files; with ``wait=False`` the job, whose result has them as ``files``.
        :raises SceneError, ExplainerError: the message says what is wrong and what to do.
        """
        from SegHiResCAMLib.logic.scripting import snake_case

        job = self.explainer.export(
            heatmapNode, Path(folder), file_format=fileFormat, opacity=opacity, **snake_case(callbacks)
        )
        return self.explainer.wait(job).files if wait else job


class SegHiResCAMWidget(ScriptedLoadableModuleWidget):
    """Hands over to the panel."""

    def setup(self):
        """Called when the user opens the module for the first time; needs neither torch nor a main window."""
        super().setup()
        from SegHiResCAMLib.panel.panel import Panel

        self.logic = SegHiResCAMLogic()
        self.panel = Panel(self.logic, self.resourcePath("UI/SegHiResCAM.ui"), self.parent)
        self.layout.addWidget(self.panel.widget)

    def enter(self):
        """Called each time the user opens the module."""
        self.panel.enter()

    def exit(self):
        """Called each time the user opens another module."""
        self.panel.exit()

    def cleanup(self):
        """Called when the module is reloaded and when Slicer ends."""
        self.panel.cleanup()
        self.logic.explainer.close()

    def onReload(self):
        """Reload the library as well."""
        for name in [name for name in sys.modules if name.split(".")[0] == "SegHiResCAMLib"]:
            del sys.modules[name]
        super().onReload()


def onStartupCompleted():
    """Offer what 3D Slicer has in other places than the panel."""
    from SegHiResCAMLib.panel.layout_menu import offer_side_by_side
    from SegHiResCAMLib.sample_data import register_sample_data

    offer_side_by_side(slicer.mrmlScene)
    register_sample_data()


class SegHiResCAMTest(ScriptedLoadableModuleTest):
    """Run by "Reload and Test"; everything else is in Testing/."""

    def runTest(self):
        """Called by Slicer."""
        self.test_choicesAreSavedInTheScene()

    def test_choicesAreSavedInTheScene(self):
        """A second logic reads what a first one has written."""
        slicer.mrmlScene.Clear()
        SegHiResCAMLogic().getParameterNode().opacity = 0.25
        self.assertEqual(SegHiResCAMLogic().getParameterNode().opacity, 0.25)
