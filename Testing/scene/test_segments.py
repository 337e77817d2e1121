from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from SegHiResCAMLib.scene.errors import SceneError
from SegHiResCAMLib.scene.save import save_segmentation
from SegHiResCAMLib.scene.segments import (
    Segment,
    add_segment,
    add_segmentation,
    model_sha256_of,
    segment_array,
    segment_ids,
    segment_voxels,
    set_model_of,
    volumes_ml,
)
from SegHiResCAMLib.scene.volumes import add_volume
from SegHiResCAMLib.terminology import KNOWN, terminology_of

LABELS = np.random.default_rng(0).integers(0, 4, (7, 6, 5))
KIDNEY = Segment("Right kidney", 1, KNOWN["kidney"][1], KNOWN["kidney"][0])
TUMOUR = Segment("Tumour", 2, KNOWN["tumour"][1], KNOWN["tumour"][0])
CYST = Segment("Cyst", 9, KNOWN["cyst"][1], KNOWN["cyst"][0])
SEGMENTS = [KIDNEY, TUMOUR, CYST]


def _volume(scene, affine=None):
    return add_volume(scene, np.zeros(LABELS.shape, np.float32), np.eye(4) if affine is None else affine, "CT")


def _segmentation(scene, affine=None, segments=SEGMENTS):
    affine = np.eye(4) if affine is None else affine
    volume = _volume(scene, affine)
    return add_segmentation(scene, LABELS, affine, segments, volume), volume


def test_every_segment_comes_back_voxel_for_voxel(scene, affine):
    node, volume = _segmentation(scene, affine)
    for segment in SEGMENTS:
        np.testing.assert_array_equal(segment_array(node, segment.id, volume), segment.value == LABELS)


def test_every_segment_comes_back_under_a_parent_transform(scene, affine):
    volume = _volume(scene, affine)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([-1.0, 1.0, 1.1, 1.0])))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    node = add_segmentation(scene, LABELS, affine, SEGMENTS, volume)
    assert node.GetTransformNodeID() == transform.GetID()
    np.testing.assert_array_equal(segment_array(node, KIDNEY.id, volume), LABELS == 1)


def test_a_segment_is_read_where_it_lies_on_a_volume_that_was_moved_alone(scene):
    node, volume = _segmentation(scene)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    one_voxel_along_i = np.eye(4)
    one_voxel_along_i[0, 3] = 1
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(one_voxel_along_i))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    read = segment_array(node, KIDNEY.id, volume)
    np.testing.assert_array_equal(read[:-1], (LABELS == 1)[1:])
    assert not read[-1].any()


def test_segments_share_one_layer_and_keep_name_color_and_identifier(scene):
    node, _ = _segmentation(scene)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfLayers() == 1
    assert segment_ids(node) == ["right-kidney", "tumour", "cyst"]
    for segment in SEGMENTS:
        found = segmentation.GetSegment(segment.id)
        assert found.GetName() == segment.name
        assert found.GetColor() == pytest.approx(segment.color)
        assert found.GetLabelValue() == segment.value


def test_a_segment_without_voxels_is_there_all_the_same(scene):
    node, volume = _segmentation(scene)
    assert not (CYST.value == LABELS).any()
    assert "cyst" in segment_ids(node)
    assert not segment_array(node, "cyst", volume).any()


def test_a_segmentation_that_found_nothing_can_be_made_and_read(scene):
    volume = _volume(scene)
    node = add_segmentation(scene, np.zeros_like(LABELS), np.eye(4), SEGMENTS, volume)
    assert not segment_array(node, KIDNEY.id, volume).any()


def test_a_label_above_255_comes_back(scene):
    volume = _volume(scene)
    node = add_segmentation(scene, LABELS * 1000, np.eye(4), [Segment("many", 3000, (1, 0, 0))], volume)
    np.testing.assert_array_equal(segment_array(node, "many", volume), LABELS == 3)


@pytest.mark.parametrize("name", ["kidney", "left kidney", "tumour", "kidney tumour", "cyst", "spleen", "liver"])
def test_slicer_parses_the_terminology_back(scene, name):
    terminology, color = terminology_of(name)
    node, _ = _segmentation(scene, segments=[Segment("it", 1, color, terminology)])
    entry = slicer.vtkSlicerTerminologyEntry()
    text = node.GetSegmentation().GetSegment("it").GetTerminology()
    assert slicer.vtkSlicerTerminologiesModuleLogic().DeserializeTerminologyEntry(text, entry)

    def code(found):
        return found.GetCodingSchemeDesignator(), found.GetCodeValue(), found.GetCodeMeaning()

    assert entry.GetTerminologyContextName() == "Segmentation category and type - DICOM master list"
    assert code(entry.GetCategoryObject()) == (
        terminology.category.scheme,
        terminology.category.value,
        terminology.category.meaning,
    )
    assert code(entry.GetTypeObject()) == (terminology.type.scheme, terminology.type.value, terminology.type.meaning)
    modifier, region = entry.GetTypeModifierObject(), entry.GetRegionObject()
    assert modifier.GetCodeMeaning() == ("Left" if name == "left kidney" else None)
    if terminology.region:
        assert entry.GetRegionContextName() == "Anatomic codes - DICOM master list"
        assert code(region) == (terminology.region.scheme, terminology.region.value, terminology.region.meaning)
    else:
        assert not region.GetCodeValue()


def test_a_segmentation_refers_to_its_volume_and_lies_beside_it(scene):
    node, volume = _segmentation(scene)
    reference = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert node.GetNodeReferenceID(reference) == volume.GetID()
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == hierarchy.GetItemParent(
        hierarchy.GetItemByDataNode(volume)
    )


@pytest.mark.parametrize(
    ("labels", "segments", "message"),
    [
        (LABELS.astype(float), SEGMENTS, "integers"),
        (LABELS[0], SEGMENTS, "three axes"),
        (LABELS, [KIDNEY, Segment("left kidney", 1, (0, 0, 1))], "have the same value"),
        (LABELS, [Segment("background", 0, (0, 0, 0))], "background"),
    ],
)
def test_labels_and_segments_that_cannot_be_are_refused(scene, labels, segments, message):
    volume = _volume(scene)
    with pytest.raises(SceneError, match=message):
        add_segmentation(scene, labels, np.eye(4), segments, volume)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_an_unknown_segment_is_told_with_those_that_there_are(scene):
    node, volume = _segmentation(scene)
    with pytest.raises(SceneError, match=r"no segment heart.*right-kidney"):
        segment_array(node, "heart", volume)


def test_slicer_reads_the_saved_file_back(scene, affine, tmp_path):
    node, volume = _segmentation(scene, affine)
    path = tmp_path / "organs.seg.nrrd"
    save_segmentation(node, path)
    assert [file.name for file in tmp_path.iterdir()] == ["organs.seg.nrrd"]
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    read = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "read")
    assert storage.ReadData(read)
    assert segment_ids(read) == segment_ids(node)
    for segment in SEGMENTS:
        np.testing.assert_array_equal(segment_array(read, segment.id, volume), segment.value == LABELS)


@pytest.mark.parametrize("affine", ["left-handed", "permuted", "oblique", "oblique left-handed"], indirect=True)
def test_simpleitk_reads_the_saved_file_voxel_for_voxel_where_it_lies(scene, affine, tmp_path):
    node, _ = _segmentation(scene, affine)
    path = tmp_path / "organs.seg.nrrd"
    save_segmentation(node, path)
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), np.where(LABELS == 3, 0, LABELS))
    point = np.array(image.TransformIndexToPhysicalPoint((5, 2, 3))) * (-1, -1, 1)  # LPS to RAS
    np.testing.assert_allclose(point, (affine @ [5, 2, 3, 1])[:3], atol=1e-6)
    assert image.GetMetaData("Segment0_Name") == "Right kidney"


def test_volumes_are_counted_in_millilitres(scene, affine):
    node, _ = _segmentation(scene, affine)
    voxel = abs(np.linalg.det(affine[:3, :3])) / 1000
    assert volumes_ml(segment_voxels(node)) == pytest.approx(
        {one.id: (one.value == LABELS).sum() * voxel for one in SEGMENTS}
    )


def test_who_made_a_segmentation_is_known(scene):
    node, _ = _segmentation(scene)
    assert model_sha256_of(node) == ""
    set_model_of(node, "kits", "abc")
    assert model_sha256_of(node) == "abc"


def test_segments_whose_names_make_one_identifier_get_one_each(scene):
    """GTV+ and GTV- are two targets of radiotherapy."""
    volume = _volume(scene)
    segments = [Segment("GTV+", 1, (1, 0, 0)), Segment("GTV-", 2, (0, 1, 0)), Segment("gtv", 3, (0, 0, 1))]
    node = add_segmentation(scene, LABELS, np.eye(4), segments, volume)
    add_segment(node, LABELS == 1, np.eye(4), Segment("GTV", 1, (1, 1, 0)))
    assert segment_ids(node) == ["gtv", "gtv-2", "gtv-3", "gtv-4"]
    for segment, its_id in zip(segments, segment_ids(node), strict=False):
        assert node.GetSegmentation().GetSegment(its_id).GetName() == segment.name
        np.testing.assert_array_equal(segment_array(node, its_id, volume), segment.value == LABELS)
