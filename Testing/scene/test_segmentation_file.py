"""A segmentation that is written in a thread is, read again, the one that Slicer's own writer would have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer

from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.scene.save import save_segmentation
from SegHiResCAMLib.scene.segmentation_file import layer_array, segmentation_file
from SegHiResCAMLib.scene.segments import Segment, add_segment, add_segmentation, segment_array, segment_ids
from SegHiResCAMLib.scene.volumes import add_volume
from SegHiResCAMLib.terminology import KNOWN

SHAPE = (7, 6, 5)
LABELS = np.random.default_rng(0).integers(0, 3, SHAPE).astype(np.uint8)
SEGMENTS = [
    Segment('Tumour "C:\\x\\new" ü', 1, (0.25, 0.5, 0.75), KNOWN["tumour"][0]),
    Segment("Cyst", 2, (1.0, 0.0, 0.0)),
]


def written(node: Any, path: Path) -> Path:
    taken = segmentation_file(node)
    write_nrrd(path, layer_array(taken), taken.affine, taken.header, first_axis="list")
    return path


def read(path: Path) -> Any:
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    return node


@pytest.fixture
def ct(scene: Any, affine: np.ndarray) -> Any:
    return add_volume(scene, np.zeros(SHAPE, np.int16), affine, "CT")


def test_segments_come_back_with_all_that_is_known_of_them(
    scene: Any, ct: Any, affine: np.ndarray, tmp_path: Path
) -> None:
    node = add_segmentation(scene, LABELS, affine, SEGMENTS, ct)
    node.GetSegmentation().GetNthSegment(0).SetTag("Segmentation.Status", "completed")
    save_segmentation(node, tmp_path / "slicer.seg.nrrd")
    expected, again = read(tmp_path / "slicer.seg.nrrd"), read(written(node, tmp_path / "own.seg.nrrd"))
    assert segment_ids(again) == segment_ids(expected)
    for segment_id in segment_ids(again):
        one, other = (two.GetSegmentation().GetSegment(segment_id) for two in (again, expected))
        assert (one.GetName(), one.GetColor(), one.GetLabelValue(), one.GetTerminology()) == (
            other.GetName(),
            other.GetColor(),
            other.GetLabelValue(),
            other.GetTerminology(),
        )
        assert one.HasTag("Segmentation.Status") == other.HasTag("Segmentation.Status")
        array = segment_array(again, segment_id, ct)
        np.testing.assert_array_equal(array, segment_array(expected, segment_id, ct))
        np.testing.assert_array_equal(array, np.equal(LABELS, 1 + segment_ids(again).index(segment_id)))
    parameters = [two.GetSegmentation().SerializeAllConversionParameters() for two in (again, expected)]
    assert parameters[0] == parameters[1]


def test_segments_that_overlap_stay_whole(scene: Any, ct: Any, affine: np.ndarray, tmp_path: Path) -> None:
    node = add_segmentation(scene, LABELS, affine, SEGMENTS, ct)
    over = np.zeros(SHAPE, bool)
    over[2:5, 1:4, 1:3] = True
    add_segment(node, over, affine, Segment("Over", 1, (0, 1, 0), id="over"))
    again = read(written(node, tmp_path / "own.seg.nrrd"))
    assert again.GetSegmentation().GetNumberOfLayers() == 2
    np.testing.assert_array_equal(segment_array(again, "over", ct), over)
    np.testing.assert_array_equal(segment_array(again, segment_ids(again)[0], ct), LABELS == 1)


def test_segments_that_nobody_has_drawn_yet_are_kept_without_voxels(
    scene: Any, ct: Any, affine: np.ndarray, tmp_path: Path
) -> None:
    node = add_segmentation(scene, LABELS, affine, SEGMENTS, ct)
    node.GetSegmentation().AddEmptySegment("empty", "Empty")
    again = read(written(node, tmp_path / "own.seg.nrrd"))
    assert segment_ids(again) == segment_ids(node)
    counts = [int(segment_array(again, segment_id, ct).sum()) for segment_id in segment_ids(again)]
    assert counts == [int((LABELS == 1).sum()), int((LABELS == 2).sum()), 0]


def test_a_layer_that_is_smaller_than_the_volume_lies_where_it_was(
    scene: Any, ct: Any, affine: np.ndarray, tmp_path: Path
) -> None:
    node = add_segmentation(scene, LABELS, affine, SEGMENTS[1:], ct)
    (image,) = {node.GetSegmentation().GetNthSegment(0).GetRepresentation("Binary labelmap")}
    cropped = slicer.vtkOrientedImageData()
    assert slicer.vtkOrientedImageDataResample.CopyImage(image, cropped, [2, 5, 1, 4, 1, 3])
    image.DeepCopy(cropped)
    again = read(written(node, tmp_path / "own.seg.nrrd"))
    expected = np.zeros(SHAPE, bool)
    expected[2:6, 1:5, 1:4] = LABELS[2:6, 1:5, 1:4] == 2
    np.testing.assert_array_equal(segment_array(node, "cyst", ct), expected)
    np.testing.assert_array_equal(segment_array(again, "cyst", ct), expected)


def test_layers_on_different_grids_are_left_to_slicer(scene: Any, ct: Any, affine: np.ndarray) -> None:
    node = add_segmentation(scene, LABELS, affine, SEGMENTS, ct)
    moved = affine @ np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    add_segment(node, LABELS > 0, moved, Segment("Moved", 1, (0, 1, 0)))
    assert segmentation_file(node) is None
