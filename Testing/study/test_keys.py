"""What makes a case another one: everything that its results depend on, by content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from SegHiResCAMLib.records.explain_job import ExplainJob
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.study.keys import options_key


def test_a_region_file_for_all_cases_counts_by_content_and_not_by_name(tmp_path: Path) -> None:
    model, regions, copy = (tmp_path / name for name in ("model.pt", "regions.nii.gz", "copy.nii.gz"))
    for file in (model, regions, copy):
        file.write_bytes(b"one")
    job = ExplainJob(volumes=(), model=str(model), segments=("tumour",), question=Question(segment="tumour"))
    key = options_key(replace(job, regions=str(regions)), model)
    assert options_key(replace(job, regions=str(copy)), model) == key
    assert options_key(replace(job, regions="model"), model) != key
    regions.write_bytes(b"two")
    assert options_key(replace(job, regions=str(regions)), model) != key
