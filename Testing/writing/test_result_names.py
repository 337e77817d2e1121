"""What a result may be called: a name that is not known as a result's would stay beside the next one, as if it were a part of it."""

from __future__ import annotations

import pytest

from SegHiResCAMLib import results
from SegHiResCAMLib.pages.viewer import VIEWER
from SegHiResCAMLib.records import result_tables
from SegHiResCAMLib.study.study_folder import OUTCOME
from SegHiResCAMLib.writing.commit import FACTS, is_result_file

pytestmark = pytest.mark.engine

NAMES = [
    *(results.HEATMAP, results.DEVIATION, results.SEGMENTATION, results.OVERLAY, results.COMPARISON, results.SCENE),
    *(results.NIFTI, results.NIFTI_LABELS, result_tables.REGIONS, result_tables.AGREEMENT, result_tables.MISTAKES),
    *(result_tables.CHECK, result_tables.CHECK_FIGURE, result_tables.INPUTS, VIEWER, FACTS, OUTCOME),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_a_result_can_be_removed_with_it(name: str) -> None:
    assert is_result_file(name)


@pytest.mark.parametrize("name", ["ct.nrrd", "heatmap-mine.nrrd", "regions.xlsx", "notes.csv"])
def test_no_other_file_is_ever_removed(name: str) -> None:
    assert not is_result_file(name)
