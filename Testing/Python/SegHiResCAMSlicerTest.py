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

    # Without PyTorch

    def test_opening_the_module_does_not_load_torch(self):
        slicer.util.getModuleWidget("SegHiResCAM")
        self.assertNotIn("torch", sys.modules)
        self.assertNotIn("monai", sys.modules)

    def test_the_panel_survives_a_closed_scene(self):
        slicer.util.getModuleWidget("SegHiResCAM").enter()
        slicer.mrmlScene.Clear()
        self.assertEqual(self._logic().getParameterNode().opacity, 0.5)

    def test_the_installed_extension_has_all_its_files(self):
        from SegHiResCAMLib.installation.packages import packages
        from SegHiResCAMLib.resources import resource

        for parts in (("UI", "SetUp.ui"), ("UI", "SegHiResCAM.ui"), ("SampleData", "KidneyPhantom.nrrd")):
            self.assertTrue(resource(*parts).is_file(), parts)
        for model in ("kidney-phantom-2d", "kidney-phantom-3d"):
            self.assertTrue((resource("Models", model) / "models/model.pt").is_file(), model)
        self.assertEqual(packages()[0].name, "torch")

    def test_what_is_missing_is_seen_and_nothing_else(self):
        section = slicer.util.getModuleWidget("SegHiResCAM").panel.set_up
        lacking = {one.package.name for one in section.report.missing}
        if not self._computes():
            self.assertTrue({"torch", "monai"} & lacking)
        self.assertEqual(section.is_needed, bool(lacking))
        self.assertEqual(section.ui.setUpCollapsibleButton.isHidden(), not lacking)
        self.assertEqual(section.ui.packagesTree.topLevelItemCount, len(section.report.findings))

    def test_the_check_of_the_installation_runs_in_a_process_of_its_own(self):
        import subprocess

        from SegHiResCAMLib.child_process import LIBRARY, python_executable
        from SegHiResCAMLib.installation.check import check_command, read_report

        done = subprocess.run(
            check_command(python_executable()),
            cwd=LIBRARY,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        report = read_report(done.stdout.splitlines())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Python", report.facts)
        bundled = {one.package.name: one.problem for one in report.findings if one.package.bundled}
        self.assertEqual(bundled, {"numpy": "", "scipy": "", "SimpleITK": ""})

    def test_measurements_become_a_table(self):
        from SegHiResCAMLib.records.explanation import Measurements
        from SegHiResCAMLib.scene.table import add_measurements_table

        measured = Measurements(0.5, None, None, 0.0, None, None, 0.0)
        table = add_measurements_table(slicer.mrmlScene, measured, "Tumour")
        self.assertEqual(
            [table.GetCellText(0, column) for column in range(3)], ["Map inside the explained region", "50", "%"]
        )
        self.assertEqual([table.GetCellText(row, 0) for row in range(table.GetNumberOfRows())][1:], ["Peak"])

    def test_without_torch_a_message_says_what_to_install(self):
        if importlib.util.find_spec("torch") is not None:
            self.skipTest("PyTorch is installed")
        from SegHiResCAMLib.logic.job import ExplainerError

        with self.assertRaisesRegex(ExplainerError, "Install PyTorch"):
            self._logic().segment(self._ball(), self._model())
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"), 0)

    # With PyTorch

    def test_the_tumour_of_the_sample_patient_is_explained_where_it_is(self):
        self._need_torch()
        from SegHiResCAMLib.scene.heatmap import peak_position

        volume = self._sample_patient()
        segmentation = self._logic().segment(volume, self._model())
        heatmap = self._logic().explain(volume, self._model(), "tumour", segmentationNode=segmentation)
        self.assertEqual(segmentation.GetSegmentation().GetNumberOfSegments(), 3)
        self.assertEqual(heatmap.GetImageData().GetDimensions(), volume.GetImageData().GetDimensions())
        np.testing.assert_array_equal(self._matrix(heatmap), self._matrix(volume))
        peak = peak_position(heatmap)
        self.assertGreater(peak.value, 0)
        inside = slicer.util.arrayFromSegmentBinaryLabelmap(
            segmentation, segmentation.GetSegmentation().GetSegmentIdBySegmentName("tumour"), volume
        )
        matrix = self._matrix(volume)
        points = np.argwhere(inside)[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3]
        self.assertGreater(len(points), 100)
        self.assertLess(np.linalg.norm(points - peak.position, axis=1).min(), 15.0)
        self._logic().showOverlay(heatmap)
        self._logic().showOverlay(heatmap, visible=False)

    def _computes(self):
        return all(importlib.util.find_spec(name) is not None for name in ("torch", "monai"))

    def _need_torch(self):
        if not self._computes():
            self.skipTest("PyTorch or MONAI is not installed")

    def _logic(self):
        return slicer.util.getModuleLogic("SegHiResCAM")

    def _ball(self):
        """A soft-tissue ball in air, 72 mm wide."""
        z, y, x = np.mgrid[:24, :24, :24] - 11.5
        array = np.where(x**2 + y**2 + z**2 < 100, 60, -1000).astype(np.int16)
        return slicer.util.addVolumeFromArray(array, ijkToRAS=np.diag([3.0, 3.0, 3.0, 1.0]), name="Ball")

    def _sample_patient(self):
        """As Sample Data loads it."""
        from SegHiResCAMLib.resources import resource

        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Kidney phantom")
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(resource("SampleData", "KidneyPhantom.nrrd")))
        self.assertTrue(storage.ReadData(volume))
        return volume

    def _matrix(self, volume):
        import vtk

        matrix = vtk.vtkMatrix4x4()
        volume.GetIJKToRASMatrix(matrix)
        return slicer.util.arrayFromVTKMatrix(matrix)

    def _model(self):
        from SegHiResCAMLib.resources import resource

        return resource("Models", "kidney-phantom-3d")
