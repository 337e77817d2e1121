"""Scripting the module: nodes come back where they belong, and the scene is unharmed by whatever goes wrong."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import slicer
import torch
import vtk
from module.conftest import AFFINE
from rounding import close
from tiny_bundle import LABELS

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.images.volume import volume_from_array
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.logic.job import ExplainerError
from SegHiResCAMLib.records.files import explanation_schema, read_explanation
from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array, segment_ids
from SegHiResCAMLib.scene.volumes import volume_array


def nodes(scene: Any) -> list[str]:
    return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]


def folder_of(node: Any) -> str:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    return hierarchy.GetItemName(hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)))


def explained_here(volume: Any, model: str) -> Any:
    """The engine's own answer, without worker or scene."""
    array, affine = volume_array(volume)
    return explain(ExplainRequest.of(volume_from_array(array, affine), open_model(model), "tumour"))


def test_a_segmentation_lies_beside_its_volume_with_names_and_colours(logic: Any, a_volume: Any, a_model: str) -> None:
    segmentation = logic.segment(a_volume, a_model)
    assert segmentation.GetName() == "Tiny network segmentation"
    assert segment_ids(segmentation) == list(LABELS)
    assert segmentation.GetTransformNodeID() == a_volume.GetTransformNodeID()
    assert folder_of(segmentation) == "Patient"
    tumour = segmentation.GetSegmentation().GetSegment("tumour")
    assert tumour.GetColor() == pytest.approx((0.180, 0.800, 0.443))
    labels = explained_here(a_volume, a_model).segmentation.labels.numpy()[0]
    for value, name in enumerate(LABELS, start=1):
        assert np.array_equal(segment_array(segmentation, name, a_volume), labels == value)


def test_a_heat_map_has_the_volumes_geometry_transform_and_folder(logic: Any, a_volume: Any, a_model: str) -> None:
    segmentation = logic.segment(a_volume, a_model)
    heatmap = logic.explain(a_volume, a_model, "tumour", segmentationNode=segmentation)
    array, affine = volume_array(heatmap)
    there, where = volume_array(a_volume)
    assert array.shape == there.shape
    assert np.array_equal(affine, where)
    assert heatmap.GetTransformNodeID() == a_volume.GetTransformNodeID()
    assert folder_of(heatmap) == heatmap.GetName()
    assert heatmap.GetNodeReference("SegHiResCAM.inputVolume") is a_volume
    assert heatmap.GetNodeReference("SegHiResCAM.segmentation") is segmentation
    assert heatmap.GetName().startswith("tumour (whole segment), Seg-HiRes-Grad CAM, ")


def test_a_heat_map_is_the_engines_and_says_how_it_was_made(logic: Any, a_volume: Any, a_model: str) -> None:
    heatmap = logic.explain(a_volume, a_model, "tumour")
    here = explained_here(a_volume, a_model)
    assert close(volume_array(heatmap)[0], here.signed_map.numpy()[0], dtype=torch.float32)
    there, record = explanation_of(heatmap), here.record()
    assert (there.question, there.model, there.layer) == (record.question, record.model, record.layer)
    assert (there.method, there.region, there.mode, there.units) == (
        record.method,
        record.region,
        record.mode,
        record.units,
    )
    assert (there.voxel_count, there.versions) == (record.voxel_count, record.versions)
    assert close(there.score, here.score, dtype=torch.float32)
    assert there.maximum == pytest.approx(here.peak[0], rel=1e-5)


def test_the_users_own_segment_can_be_the_pixel_set(logic: Any, a_volume: Any, a_model: str) -> None:
    segmentation = logic.segment(a_volume, a_model)
    kidney = int(segment_array(segmentation, "kidney", a_volume).sum())
    heatmap = logic.explain(a_volume, a_model, "tumour", segmentationNode=segmentation, pixelSet="kidney")
    assert explanation_of(heatmap).voxel_count == kidney


def test_a_segment_that_is_drawn_on_another_grid_is_explained_where_it_lies(
    logic: Any, scene: Any, a_volume: Any, a_model: str
) -> None:
    halved = np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1.0]])  # every voxel holds eight
    labels = np.zeros((12, 10, 9), np.uint8)
    labels[3:7, 2:5, 4:8] = 1
    drawn = add_segmentation(scene, labels, AFFINE @ halved, [Segment("mine", 1, (1, 0, 0))], a_volume)
    heatmap = logic.explain(a_volume, a_model, "tumour", segmentationNode=drawn, pixelSet="mine")
    assert explanation_of(heatmap).voxel_count == 8 * int(labels.sum())


def test_a_heat_map_reopened_from_a_scene_still_knows_where_it_comes_from(
    logic: Any, scene: Any, a_volume: Any, a_model: str, tmp_path: Path
) -> None:
    from SegHiResCAMLib.scene.save import save_scene

    heatmap = logic.explain(a_volume, a_model, "tumour", segmentationNode=logic.segment(a_volume, a_model))
    name, array, facts = heatmap.GetName(), volume_array(heatmap)[0].copy(), explanation_of(heatmap)
    logic.getParameterNode().heatmap = heatmap
    save_scene(scene, tmp_path / "scene.mrb")
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    reopened = logic.getParameterNode().heatmap
    assert (reopened.GetName(), explanation_of(reopened)) == (name, facts)
    assert reopened.GetNodeReference("SegHiResCAM.inputVolume").GetName() == "CT"
    assert np.array_equal(np.sort(volume_array(reopened)[0], axis=None), np.sort(array, axis=None))


def test_the_overlay_comes_and_goes_with_the_views_as_they_were(
    logic: Any, scene: Any, a_volume: Any, a_model: str
) -> None:
    heatmap = logic.explain(a_volume, a_model, "tumour")
    view = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
    view.SetBackgroundVolumeID(None)
    logic.showOverlay(heatmap, opacity=0.7)
    assert view.GetBackgroundVolumeID() == a_volume.GetID()
    assert view.GetForegroundVolumeID() == heatmap.GetID()
    assert view.GetForegroundOpacity() == 0.7
    logic.showOverlay(heatmap, visible=False)
    assert view.GetForegroundVolumeID() is None
    assert view.GetBackgroundVolumeID() is None


def test_an_export_has_the_map_its_segmentation_and_its_provenance(
    logic: Any, a_volume: Any, a_model: str, tmp_path: Path
) -> None:
    heatmap = logic.explain(a_volume, a_model, "tumour", segmentationNode=logic.segment(a_volume, a_model))
    written = logic.export(heatmap, tmp_path / "out")
    names = ["explanation.json", "heatmap.nrrd", "overlay.png", "segmentation.seg.nrrd", "signed-map.nrrd"]
    assert sorted(file.name for file in written) == sorted([*names, "measurements.csv"])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(file.name for file in written)
    text = (tmp_path / "out/explanation.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(text), explanation_schema())
    record = explanation_of(heatmap)
    assert replace(read_explanation(text), files=()) == record
    signed, _ = volume_array(heatmap)
    for name, values in {"heatmap.nrrd": np.maximum(signed, 0), "signed-map.nrrd": signed}.items():
        again = slicer.vtkMRMLScalarVolumeNode()
        storage = slicer.vtkMRMLNRRDStorageNode()
        storage.SetFileName(str(tmp_path / "out" / name))
        assert storage.ReadData(again)
        assert explanation_of(again) == replace(record, timings_s={})  # the same map is the same bytes
        read, _ = volume_array(again)
        np.testing.assert_allclose(np.sort(read, axis=None), np.sort(values, axis=None), rtol=0, atol=0)


def test_a_smooth_map_has_its_standard_deviation_beside_it_and_in_an_export(
    logic: Any, a_volume: Any, a_model: str, tmp_path: Path
) -> None:
    heatmap = logic.explain(a_volume, a_model, "tumour", smooth=2)
    deviation = heatmap.GetNodeReference("SegHiResCAM.deviation")
    values, affine = volume_array(deviation)
    assert np.array_equal(affine, volume_array(heatmap)[1])
    assert values.min() >= 0 < values.max()
    written = {file.name: file for file in logic.export(heatmap, tmp_path / "out")}
    again = slicer.vtkMRMLScalarVolumeNode()
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(written["heatmap-sd.nrrd"]))
    assert storage.ReadData(again)
    np.testing.assert_array_equal(np.sort(volume_array(again)[0], axis=None), np.sort(values, axis=None))


def test_an_export_that_nobody_waits_for_tells_how_far_it_is(
    logic: Any, a_volume: Any, a_model: str, tmp_path: Path
) -> None:
    heatmap, told = logic.explain(a_volume, a_model, "tumour"), []
    job = logic.export(
        heatmap,
        tmp_path / "out",
        wait=False,
        onProgress=lambda *progress: told.append(progress[:2]),
        onDone=told.append,
    )
    assert not (tmp_path / "out").exists()
    while not job.done:
        logic.poll()
    assert told[-1] is job.result
    assert sorted(job.result.files) == sorted((tmp_path / "out").iterdir())
    assert job.result.left_out == []
    assert [fraction for fraction, _text in told[:-1]] == sorted(fraction for fraction, _text in told[:-1])


def test_without_matplotlib_all_but_the_picture_is_exported_and_a_message_says_so(
    logic: Any, a_volume: Any, a_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heatmap = logic.explain(a_volume, a_model, "tumour")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    job = logic.export(heatmap, tmp_path / "out", wait=False)
    exported = logic.explainer.wait(job)
    assert {"explanation.json", "heatmap.nrrd", "signed-map.nrrd"} <= {file.name for file in exported.files}
    assert not (tmp_path / "out/overlay.png").exists()
    (message,) = exported.left_out
    assert message.startswith("Figures need matplotlib")


def test_a_sheared_grid_is_not_forced_into_nifti(logic: Any, a_volume: Any, a_model: str, tmp_path: Path) -> None:
    heatmap = logic.explain(a_volume, a_model, "tumour")
    written = logic.export(heatmap, tmp_path / "straight", fileFormat="nii.gz")
    assert "heatmap.nii.gz" in [file.name for file in written]
    sheared = AFFINE.copy()
    sheared[0, 2] = 0.4
    heatmap.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(sheared))
    with pytest.raises(SceneError, match="sheared grid"):
        logic.export(heatmap, tmp_path / "sheared", fileFormat="nii.gz")
    assert not (tmp_path / "sheared").exists()


def test_an_export_replaces_the_one_before_and_no_file_that_the_scene_was_loaded_from(
    logic: Any, a_volume: Any, a_model: str, tmp_path: Path
) -> None:
    heatmap, folder = logic.explain(a_volume, a_model, "tumour"), tmp_path / "out"
    logic.export(heatmap, folder, fileFormat="nii.gz")
    (folder / "notes.txt").write_text("mine")
    written = logic.export(heatmap, folder)
    assert sorted(folder.iterdir()) == sorted([*written, folder / "notes.txt"])
    before = (folder / "heatmap.nrrd").read_bytes()
    storage = a_volume.GetScene().AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(folder / "heatmap.nrrd"))
    a_volume.SetAndObserveStorageNodeID(storage.GetID())
    with pytest.raises(ExplainerError, match="would overwrite an input"):
        logic.export(heatmap, folder)
    assert (folder / "heatmap.nrrd").read_bytes() == before
    assert sorted(folder.iterdir()) == sorted([*written, folder / "notes.txt"])


def test_only_heat_maps_are_exported(logic: Any, a_volume: Any, tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="'CT' is not a heat map"):
        logic.export(a_volume, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_waiting_callbacks_come_from_the_poll(logic: Any, a_volume: Any, a_model: str) -> None:
    told: list[Any] = []
    job = logic.segment(
        a_volume,
        a_model,
        wait=False,
        onProgress=lambda *progress: told.append(progress[0]),
        onDone=told.append,
    )
    assert told == []
    while not job.done:
        start = time.perf_counter()
        logic.poll()
        assert time.perf_counter() - start < 1.0
        time.sleep(0.01)
    assert told[-1] is job.result
    assert told[-1].IsA("vtkMRMLSegmentationNode")
    assert told[:-1] == sorted(told[:-1])


def test_what_cannot_be_done_is_a_message_and_the_scene_stays(
    logic: Any, scene: Any, a_volume: Any, a_model: str
) -> None:
    before = nodes(scene)
    with pytest.raises(ExplainerError, match="It segments: kidney, tumour") as caught:
        logic.explain(a_volume, a_model, "spleen")
    assert caught.value.code == "segment-unknown"
    with pytest.raises(ExplainerError, match="/nowhere"):
        logic.segment(a_volume, "/nowhere")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    with pytest.raises(SceneError, match="Empty has no voxels"):
        logic.segment(empty, a_model)
    scene.RemoveNode(empty)
    with pytest.raises(SceneError, match="'CT' is not a volume"):
        logic.segment("CT", a_model)
    with pytest.raises(SceneError, match="segmentation"):
        logic.explain(a_volume, a_model, "tumour", pixelSet="tumour")
    assert nodes(scene) == before


def test_a_colour_picture_is_no_volume_to_segment(logic: Any, scene: Any, a_model: str) -> None:
    picture = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "Photograph")
    image = vtk.vtkImageData()
    image.SetDimensions(9, 9, 9)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    picture.SetAndObserveImageData(image)
    with pytest.raises(SceneError, match="Photograph has 3 values in each voxel"):
        logic.segment(picture, a_model)


def test_positions_that_a_script_has_computed_with_numpy_are_taken(logic: Any, a_volume: Any, a_model: str) -> None:
    centre = AFFINE[:3] @ [12, 10, 9, 1]
    told = [
        explanation_of(logic.explain(a_volume, a_model, "tumour", pixelSet=pixels)).voxel_count
        for pixels in (
            {"kind": "sphere", "centre": centre, "radius": np.float32(8)},
            {"kind": "sphere", "centre": centre.tolist(), "radius": 8},
        )
    ]
    assert told[0] == told[1]
    assert told[0] > 0


def test_a_volume_that_a_script_made_without_a_display_is_exported(
    logic: Any, scene: Any, a_volume: Any, a_model: str, tmp_path: Path
) -> None:
    bare = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Bare")
    bare.CopyOrientation(a_volume)
    bare.SetAndObserveImageData(a_volume.GetImageData())
    heatmap = logic.explain(bare, a_model, "tumour")
    assert bare.GetDisplayNode() is None
    with pytest.raises(SceneError, match="no format dicom"):
        logic.export(heatmap, tmp_path / "why", fileFormat="dicom")
    assert tmp_path / "why" / "overlay.png" in logic.export(heatmap, tmp_path / "why")


def test_a_volume_that_was_removed_meanwhile_gets_no_result(
    logic: Any, scene: Any, a_volume: Any, a_model: str
) -> None:
    errors: list[Any] = []
    job = logic.segment(a_volume, a_model, wait=False, onError=errors.append)
    scene.RemoveNode(a_volume)
    before = nodes(scene)
    with pytest.raises(ExplainerError, match="'CT' was deleted while it was being processed"):
        logic.explainer.wait(job)
    assert [error.code for error in errors] == ["scene"]
    assert nodes(scene) == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_worker_is_a_message_the_scene_is_unharmed_and_the_next_call_works(
    logic: Any, scene: Any, a_volume: Any, a_model: str
) -> None:
    logic.segment(a_volume, a_model)
    before = nodes(scene)
    os.kill(logic.explainer.client.worker_pid, signal.SIGSTOP)  # so that it cannot be done before it is killed
    job = logic.explain(a_volume, a_model, "tumour", wait=False)
    os.kill(logic.explainer.client.worker_pid, signal.SIGKILL)
    with pytest.raises(ExplainerError, match="ended the computing process") as caught:
        logic.explainer.wait(job)
    assert caught.value.code == "worker-died"
    assert nodes(scene) == before
    assert logic.explain(a_volume, a_model, "tumour").IsA("vtkMRMLScalarVolumeNode")


def test_who_has_closed_waits_for_nothing_any_more(module: Any, a_volume: Any, a_model: str) -> None:
    explainer = module.SegHiResCAMLogic().explainer
    explainer.cancel(explainer.segment(a_volume, a_model))
    assert explainer.is_busy
    explainer.close()
    assert not explainer.is_busy


def test_the_module_describes_itself_and_its_own_test_passes(module: Any, scene: Any) -> None:
    import types
    import unittest

    parent = types.SimpleNamespace(path=module.__file__)
    module.SegHiResCAM(parent)
    assert parent.title == "SegHiResCAM"
    assert all((parent.categories, parent.contributors, parent.helpText, parent.acknowledgementText))
    found = unittest.defaultTestLoader.loadTestsFromTestCase(module.SegHiResCAMTest)
    result = unittest.TextTestRunner(verbosity=0).run(found)
    assert result.testsRun == 1
    assert result.wasSuccessful()


def test_choices_out_of_range_are_refused(logic: Any) -> None:
    parameters = logic.getParameterNode()
    for name, wrong in {"opacity": 1.5, "mode": "sideways", "device": "abacus"}.items():
        with pytest.raises(ValueError, match=str(wrong)):
            setattr(parameters, name, wrong)
