"""What makes a case another one: everything that its results depend on, by content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from SegHiResCAMLib.records.explain_job import OWN_REGIONS, ExplainJob
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.study import Case
from SegHiResCAMLib.study.keys import content_of, options_key, stamp_of


@pytest.fixture
def job(tmp_path: Path) -> ExplainJob:
    (tmp_path / "net.pt").write_bytes(b"weights")
    model = str(tmp_path / "net.pt")
    return ExplainJob(volumes=(), model=model, segments=("tumour",), question=Question(segment="tumour"))


def test_a_region_file_for_all_cases_counts_by_content_and_not_by_name(job: ExplainJob, tmp_path: Path) -> None:
    regions, copy = tmp_path / "regions.nii.gz", tmp_path / "copy.nii.gz"
    for file in (regions, copy):
        file.write_bytes(b"one")
    key = options_key(replace(job, regions=str(regions)), Path(job.model))
    assert options_key(replace(job, regions=str(copy)), Path(job.model)) == key
    regions.write_bytes(b"two")
    assert options_key(replace(job, regions=str(regions)), Path(job.model)) != key


def test_the_models_own_regions_are_no_file_even_where_one_is_called_so(
    job: ExplainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = options_key(replace(job, regions=OWN_REGIONS), Path(job.model))
    monkeypatch.chdir(tmp_path)
    (tmp_path / OWN_REGIONS).write_bytes(b"a file")
    assert options_key(replace(job, regions=OWN_REGIONS), Path(job.model)) == key


@pytest.mark.parametrize("beside", ["net.json", "net.safetensors"])
def test_what_belongs_to_a_models_file_is_part_of_the_model(job: ExplainJob, tmp_path: Path, beside: str) -> None:
    (tmp_path / beside).write_bytes(b"one")
    key = options_key(job, Path(job.model))
    (tmp_path / beside).write_bytes(b"two")
    assert options_key(job, Path(job.model)) != key
    (tmp_path / "another.json").write_bytes(b"not the model's")
    (tmp_path / beside).write_bytes(b"one")
    assert options_key(job, Path(job.model)) == key


def test_voxels_beside_a_header_are_part_of_the_image(tmp_path: Path) -> None:
    header, voxels = tmp_path / "ct.mhd", tmp_path / "ct.raw"
    header.write_text("ObjectType = Image\nElementDataFile = ct.raw\n", encoding="utf-8")
    voxels.write_bytes(b"one")
    case = Case(name="a", images=(str(header),))
    content, stamp = content_of(case), stamp_of(case)
    voxels.write_bytes(b"three")
    assert content_of(case) != content
    assert stamp_of(case) != stamp


def test_a_folder_behind_a_link_is_part_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/1.dcm").write_bytes(b"one")
    (tmp_path / "series").mkdir()
    (tmp_path / "series/more").symlink_to(tmp_path / "real", target_is_directory=True)
    case = Case(name="a", images=(str(tmp_path / "series"),))
    content = content_of(case)
    (tmp_path / "real/1.dcm").write_bytes(b"two")
    assert content_of(case) != content


def test_a_file_counts_as_what_it_is_given_for(tmp_path: Path) -> None:
    image, other = (str(tmp_path / name) for name in ("a.nrrd", "b.nrrd"))
    for path in (image, other):
        Path(path).write_bytes(b"voxels")
    cases = [
        Case(name="a", images=(image, other)),
        Case(name="a", images=(image,), reference=other),
        Case(name="a", images=(image,), regions=other),
        Case(name="a", images=(image, other), series="1.2"),
    ]
    assert len({content_of(one) for one in cases}) == len({stamp_of(one) for one in cases}) == len(cases)


def test_figures_that_are_asked_for_later_are_made(job: ExplainJob) -> None:
    assert options_key(job, Path(job.model), with_scene=False) != options_key(job, Path(job.model))
