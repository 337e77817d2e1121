"""Run by 3D Slicer itself: `ctest -R SegHiResCAM`. Everything passes without PyTorch; what needs it is skipped then."""

import importlib.util
import sys

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest


class SegHiResCAMSlicerTest(ScriptedLoadableModuleTest):
    """The module inside the desktop."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def tearDown(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        for name in [name for name in dir(self) if name.startswith("test_")]:
            self.setUp()
            getattr(self, name)()

    def test_opening_the_module_does_not_load_torch(self):
        slicer.util.getModuleWidget("SegHiResCAM")
        self.assertNotIn("torch", sys.modules)

    def test_the_panel_survives_a_closed_scene(self):
        slicer.util.getModuleWidget("SegHiResCAM").enter()
        slicer.mrmlScene.Clear()
        self.assertEqual(self._logic().getParameterNode().opacity, 0.5)

    def test_without_torch_a_sentence_says_what_to_install(self):
        if importlib.util.find_spec("torch") is not None:
            self.skipTest("PyTorch is installed")
        from SegHiResCAMLib.logic.job import ExplainerError

        with self.assertRaisesRegex(ExplainerError, "install PyTorch"):
            self._logic().segment(self._volume(), self._model())
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)

    def test_a_heat_map_lies_where_its_volume_lies(self):
        if importlib.util.find_spec("torch") is None or importlib.util.find_spec("monai") is None:
            self.skipTest("PyTorch or MONAI is not installed")
        volume = self._volume()
        logic = self._logic()
        segmentation = logic.segment(volume, self._model())
        self.assertEqual(segmentation.GetSegmentation().GetNumberOfSegments(), 3)
        pixelSet = segmentation.GetSegmentation().GetNthSegmentID(0)
        mask = np.zeros(slicer.util.arrayFromVolume(volume).shape, np.uint8)
        mask[8:16, 8:16, 8:16] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, pixelSet, volume)
        heatmap = logic.explain(volume, self._model(), "kidney", segmentationNode=segmentation, pixelSet=pixelSet)
        self.assertEqual(heatmap.GetImageData().GetDimensions(), volume.GetImageData().GetDimensions())
        logic.showOverlay(heatmap)
        logic.showOverlay(heatmap, visible=False)
        logic.explainer.close()

    def _logic(self):
        return slicer.util.getModuleLogic("SegHiResCAM")

    def _volume(self):
        """A soft-tissue ball in air, 72 mm wide."""
        z, y, x = np.mgrid[:24, :24, :24] - 11.5
        array = np.where(x**2 + y**2 + z**2 < 100, 60, -1000).astype(np.int16)
        return slicer.util.addVolumeFromArray(array, ijkToRAS=np.diag([3.0, 3.0, 3.0, 1.0]), name="Ball")

    def _model(self):
        from SegHiResCAMLib.resources import resource

        return resource("Models", "kidney-phantom-3d")
