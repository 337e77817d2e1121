"""A segmentation that is written without a scene is what 3D Slicer's own reader finds in it."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from SegHiResCAMLib.scene.segments import segment_array, segment_ids, terminology_entry
from SegHiResCAMLib.scene.volumes import add_volume
from SegHiResCAMLib.seg_nrrd import StoredSegment, write_segmentation_nrrd
from SegHiResCAMLib.terminology import KNOWN

LABELS = np.random.default_rng(0).integers(0, 3, (7, 6, 5))
CHOSEN = np.random.default_rng(1).integers(0, 2, LABELS.shape)
SEGMENTS = [
    StoredSegment("GTV+", 1, KNOWN["tumour"][1], KNOWN["tumour"][0]),
    StoredSegment("GTV-", 2, (0.25, 0.5, 0.75)),
    StoredSegment("explained: mask", 1, (1, 0, 0), layer=1, id="explained"),
]


@pytest.mark.parametrize("layers", [[LABELS], [LABELS, CHOSEN]])
def test_slicer_reads_segments_names_colours_codes_and_voxels(scene, affine, tmp_path, layers):
    path, segments = tmp_path / "organs.seg.nrrd", [one for one in SEGMENTS if one.layer < len(layers)]
    write_segmentation_nrrd(path, layers, affine, segments)
    storage, node = slicer.vtkMRMLSegmentationStorageNode(), scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    volume = add_volume(scene, LABELS.astype(np.float32), affine, "CT")
    assert segment_ids(node) == ["gtv", "gtv-2", "explained"][: len(segments)]
    for segment, its_id in zip(segments, segment_ids(node), strict=True):
        read = node.GetSegmentation().GetSegment(its_id)
        assert read.GetName() == segment.name
        assert read.GetColor() == pytest.approx(segment.color, abs=1e-5)
        if segment.terminology:
            assert read.GetTerminology().rstrip("|") == terminology_entry(segment.terminology)
        np.testing.assert_array_equal(segment_array(node, its_id, volume), layers[segment.layer] == segment.value)
