from __future__ import annotations

import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import slicer
from a_record import a_record

from SegHiResCAMLib.records.explanation import Finding
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import INFERNO, INPUT_VOLUME, SEGMENTATION, add_heatmap, explanation_of
from SegHiResCAMLib.scene.save import save_scene, save_segmentation
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array, terminology_entry
from SegHiResCAMLib.scene.volumes import add_volume, volume_array
from SegHiResCAMLib.terminology import KNOWN

RANDOM = np.random.default_rng(0)
CT = RANDOM.normal(0, 300, (7, 6, 5)).astype(np.int16)
MAP = RANDOM.gamma(2, 5, CT.shape).astype(np.float32)
LABELS = RANDOM.integers(0, 2, CT.shape)
AWKWARD = 'C:\\x; "a:b" <50 %25> & é'
RECORD = a_record("Seg-HiRes-Grad CAM", "tumour", "Modell Ü", findings=(Finding("awkward", AWKWARD),))
TUMOUR = Segment("Tumour", 1, KNOWN["tumour"][1], KNOWN["tumour"][0])


def _fill(scene, affine):
    ct = add_volume(scene, CT, affine, "CT", window=(60, 350))
    segmentation = add_segmentation(scene, LABELS, affine, [TUMOUR], ct, name="Organs")
    return ct, segmentation, add_heatmap(scene, MAP, affine, RECORD, ct, segmentation=segmentation)


def test_a_scene_comes_back_with_all_that_was_in_it(scene, affine, tmp_path):
    path = tmp_path / "scene.mrb"
    _fill(scene, affine)
    save_scene(scene, path)
    assert scene.ReadFromMRB(str(path), True)

    ct, segmentation = scene.GetFirstNodeByName("CT"), scene.GetFirstNodeByName("Organs")
    heatmap = scene.GetFirstNodeByName("tumour, Seg-HiRes-Grad CAM, Modell Ü")
    for node, voxels in ((ct, CT), (heatmap, MAP)):
        array, back = volume_array(node)
        # A left-handed grid comes back with k reversed (Slicer's reader does that); where a voxel lies stays the same.
        flipped = np.linalg.det(affine[:3, :3]) < 0
        expected = affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 4], [0, 0, 0, 1]]) if flipped else affine
        np.testing.assert_allclose(back, expected, atol=1e-6)
        np.testing.assert_array_equal(array, voxels[..., ::-1] if flipped else voxels)
    assert (ct.GetDisplayNode().GetLevel(), ct.GetDisplayNode().GetWindow()) == (60, 350)

    display = heatmap.GetDisplayNode()
    assert display.GetColorNodeID() == INFERNO
    assert display.GetWindowLevelMin() == pytest.approx(0, abs=1e-4)
    assert display.GetWindowLevelMax() == pytest.approx(MAP.max(), rel=1e-5)
    assert display.GetLowerThreshold() == pytest.approx(0.15 * MAP.max(), rel=1e-5)
    assert display.GetUpperThreshold() > MAP.max()
    assert display.GetApplyThreshold()
    assert explanation_of(heatmap) == replace(RECORD, maximum=float(MAP.max()))
    assert heatmap.GetNodeReference(INPUT_VOLUME) is ct
    assert heatmap.GetNodeReference(SEGMENTATION) is segmentation
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(heatmap)
    assert legend.GetTitleText() == "tumour\nlogits"

    segment = segmentation.GetSegmentation().GetSegment("tumour")
    assert segment.GetName() == "Tumour"
    assert segment.GetColor() == pytest.approx(TUMOUR.color, abs=1e-5)
    assert segment.GetTerminology().rstrip("|") == terminology_entry(TUMOUR.terminology)
    tumour = LABELS[..., ::-1] if flipped else LABELS
    np.testing.assert_array_equal(segment_array(segmentation, "tumour", ct), tumour == 1)


def test_a_parent_transform_comes_back(scene, tmp_path):
    ct, _, heatmap = _fill(scene, np.eye(4))
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    for node in (ct, heatmap):
        node.SetAndObserveTransformNodeID(transform.GetID())
    save_scene(scene, tmp_path / "scene.mrb")
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"), True)
    assert scene.GetFirstNodeByName("CT").GetParentTransformNode().GetName() == "moved"


def test_the_bundle_says_slicer_wrote_it_and_refers_to_slicers_own_colors(scene, tmp_path):
    _fill(scene, np.eye(4))
    save_scene(scene, tmp_path / "Fall Ü.mrb")
    with zipfile.ZipFile(tmp_path / "Fall Ü.mrb") as bundle:
        names = bundle.namelist()
        text = bundle.read(next(name for name in names if name.endswith(".mrml"))).decode()
    assert re.search(r'<MRML\s+version="Slicer 5\.10', text)
    assert INFERNO in text
    assert not [name for name in names if name.endswith((".csv", ".ctbl"))]


def test_saving_leaves_one_file_and_replaces_an_older_one(scene, tmp_path):
    path = tmp_path / "scene.mrb"
    path.write_text("older")
    save_scene(scene, path)
    assert list(tmp_path.iterdir()) == [path]
    assert zipfile.is_zipfile(path)


@pytest.mark.parametrize("name", ["missing/scene.mrb", "scene.zip"])
def test_a_scene_that_cannot_be_saved_is_told_with_the_path_and_leaves_nothing(scene, tmp_path, name):
    with pytest.raises(SceneError, match=name):
        save_scene(scene, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["missing/organs.seg.nrrd", "organs.nrrd"])
def test_a_segmentation_that_cannot_be_saved_is_told_with_the_path_and_leaves_nothing(scene, tmp_path, name):
    _, segmentation, _ = _fill(scene, np.eye(4))
    with pytest.raises(SceneError, match=name):
        save_segmentation(segmentation, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
