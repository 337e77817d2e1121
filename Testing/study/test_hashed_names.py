"""A study whose names are hashed says nowhere how the patients are called, whatever is in tables, paths, headers and messages."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow.parquet
import pytest
import torch
from monai.data import MetaTensor
from tiny_bundle import noise, write_tiny_bundle
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.records.study import Case
from SegHiResCAMLib.study.cases import find_cases, part_of
from SegHiResCAMLib.study.errors import StudyError
from SegHiResCAMLib.study.hashed_names import linked, read_key, with_hashed_name, without_names
from SegHiResCAMLib.study.keys import stamp_of

NAMES = ("Mueller", "4711-0815", "Schmidt", "Zappelin", "Kowalski")
"""Of files, folders, numbers, headers and columns."""

AFFINE = torch.diag(torch.tensor([1.0, 1, 2, 1])).double()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, viewer: None) -> Path:
    """A table whose every path and column names a patient: NIfTI, a header with its voxels, one that is damaged, one that is not there."""
    folder = tmp_path_factory.mktemp("inputs")
    write_tiny_bundle(folder / "model")
    values = noise((20, 18, 16))
    place = folder / "Schmidt/Kowalski.Mueller"
    place.mkdir(parents=True)
    image = nibabel.Nifti1Image(values, AFFINE.numpy())
    image.header["descrip"] = b"Zappelin"
    nibabel.save(image, place / "Mueller 4711-0815.nii.gz")
    write_volume(MetaTensor(torch.ones(1, 20, 18, 16, dtype=torch.uint8), affine=AFFINE), place / "Mueller-truth.nrrd")
    (place / "Mueller.raw").write_bytes(np.asfortranarray(values).tobytes("F"))
    header = "ObjectType = Image\nNDims = 3\nComment = Zappelin\nDimSize = 20 18 16\nElementSpacing = 1 1 2\nElementType = MET_FLOAT\n"
    (place / "Mueller.mhd").write_text(f"{header}ElementDataFile = Mueller.raw\n", encoding="utf-8")
    (place / "Schmidt.mhd").write_text(f"{header}ElementDataFile = Mueller.raw.lost\n", encoding="utf-8")
    (place / "4711-0815.nrrd").write_bytes(b"NRRD0004\nZappelin")
    rows = [
        ["Mueller", place / "Mueller 4711-0815.nii.gz", place / "Mueller-truth.nrrd", "Kowalski", "of Mueller", "A"],
        ["Mueller 2", place / "Mueller.mhd", "", "Kowalski", "", "B"],
        ["4711-0815", place / "4711-0815.nrrd", "", "Schmidt", "", "A"],
        ["Zappelin", place / "Schmidt.mhd", "", "Schmidt", "", "A"],
        ["Kowalski", place / "Kowalski.nii.gz", "", "Zappelin", "", "B"],
    ]
    with (folder / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["case", "image", "reference", "Patient_ID", "remark", "hospital"], *rows])
    return folder


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["cohort", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def contents(data: bytes) -> Iterator[bytes]:
    """Of a file, and of all that is packed in it: archives, gzip, compressed text, base64 in a page."""
    yield data
    if data.startswith(b"PK"):
        with zipfile.ZipFile(BytesIO(data)) as packed:
            yield "\n".join(packed.namelist()).encode()
            for name in packed.namelist():
                yield from contents(packed.read(name))
    for start in (found.start() for found in re.finditer(b"\x1f\x8b\x08", data)):
        try:
            yield zlib.decompressobj(31).decompress(data[start:])
        except zlib.error:
            continue
    if data.lstrip()[:9].lower() == b"<!doctype":
        for coded in re.findall(rb"[A-Za-z0-9+/=]{200,}", data):
            yield from contents(base64.b64decode(coded + b"=" * (-len(coded) % 4)))
    if data.startswith(b"PAR1"):
        yield json.dumps(pyarrow.parquet.read_table(BytesIO(data)).to_pylist()).encode()


def found_in(data: bytes) -> set[str]:
    """The names that somebody finds in a file."""
    texts = [one for content in contents(data) for one in (content.lower(), content.lower().replace(b"\0", b""))]
    return {name for name in NAMES if any(name.lower().encode() in text for text in texts)}


def test_the_search_finds_a_name_wherever_it_may_be_packed(tmp_path: Path) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scene.mrml", gzip.compress(b"of mueller"))
    page = b"<!doctype html>" + base64.b64encode(gzip.compress(b"Zappelin " + bytes(range(256)) * 9))
    for data, name in ((packed.getvalue(), "Mueller"), (page, "Zappelin"), ("Schmidt".encode("utf-16-le"), "Schmidt")):
        assert found_in(data) == {name}


@pytest.fixture(scope="module")
def study(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With figures, scenes and pages, and all that the command printed."""
    folder = tmp_path_factory.mktemp("study")
    given = [inputs / "cases.csv", "-m", inputs / "model", "-s", "kidney", "--workers", 1]
    code, out, err = run(*given, "-o", folder / "study", "--hash-names", folder / "secret/key")
    assert code == 0, err
    return folder / "study", folder / "secret/key", given, out + err


def test_no_name_is_in_any_file_of_the_study_nor_in_what_the_command_prints(study: Any) -> None:
    folder, _, _, printed = study
    files = [one for one in folder.rglob("*") if one.is_file()]
    assert {"scene.mrb", "viewer.html", "report.html", "cases.parquet", "run.json", "heatmap.nrrd"} <= {
        one.name for one in files
    }
    assert {one.relative_to(folder): found for one in files if (found := found_in(one.read_bytes()))} == {}
    assert found_in("\n".join(one.relative_to(folder).as_posix() for one in folder.rglob("*")).encode()) == set()
    assert found_in(printed.encode()) == set()


def test_every_case_is_a_row_and_one_that_fails_says_why(study: Any) -> None:
    with (study[0] / "cases.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [one["status"] for one in rows] == ["done", "done", "failed", "failed", "failed"]
    assert all(re.fullmatch(r"case-[0-9a-f]{16}", one["case"]) for one in rows)
    assert rows[0]["dice.kidney"]
    damaged, lost_voxels, lost = (one["message"] for one in rows[2:])
    for message in (damaged, lost_voxels):
        assert message.startswith("Its files cannot be used (file-damaged). The reason may quote a name")
    assert lost == "A file of it does not exist."
    assert [one["hospital"] for one in rows] == list("ABAAB")
    assert rows[0]["remark"] == f"of {rows[0]['case']}"
    assert len({one["Patient_ID"] for one in rows}) == 3
    assert all(re.fullmatch(r"patient-[0-9a-f]{16}", one["Patient_ID"]) for one in rows)


def test_the_same_key_continues_a_study_and_a_dry_run_shows_which_case_is_which(study: Any) -> None:
    folder, key, given, _ = study
    code, out, err = run(*given, "-o", folder, "--hash-names", key, "--json")
    assert (code, json.loads(out)["computed"]) == (0, 0), err
    _, out, _ = run(*given, "-o", folder, "--hash-names", key, "--dry-run", "--json")
    listed = json.loads(out)["cases"]
    assert [one["own_name"] for one in listed] == ["Mueller", "Mueller 2", "4711-0815", "Zappelin", "Kowalski"]
    run_of_it = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in listed] == [one["name"] for one in run_of_it["cases"]]
    assert all("salt" not in one for one in listed)
    _, out, _ = run(*given, "-o", folder, "--hash-names", key, "--dry-run")
    assert "in the study" in out


def test_the_key_is_secret_random_and_not_in_the_study(tmp_path: Path) -> None:
    key = read_key(tmp_path / "keys/a", tmp_path / "study")
    assert stat.S_IMODE((tmp_path / "keys/a").stat().st_mode) == 0o600
    assert read_key(tmp_path / "keys/a", tmp_path / "study") == key
    assert read_key(tmp_path / "keys/b", tmp_path / "study") != key
    with pytest.raises(StudyError, match="would lie in the study's folder"):
        read_key(tmp_path / "study/../study/key", tmp_path / "study")
    (tmp_path / "table.csv").write_text("case,image\n" * 20, encoding="utf-8")
    with pytest.raises(StudyError, match="is not a key: 64 hexadecimal digits"):
        read_key(tmp_path / "table.csv", tmp_path / "study")
    with pytest.raises(StudyError, match="can be neither read nor made"):
        read_key(tmp_path / "table.csv/key", tmp_path / "study")


def test_another_key_gives_other_names_and_other_hashes_of_paths() -> None:
    case = Case(name="4711", images=("/nowhere/4711.nrrd",))
    one, other = with_hashed_name(case, b"1" * 32), with_hashed_name(case, b"2" * 32)
    assert one == with_hashed_name(case, b"1" * 32)
    assert one.name != other.name
    assert len({stamp_of(case), stamp_of(one), stamp_of(other)}) == 3, "who knows the paths could try all of them"


def test_parts_are_those_of_the_hashed_names(inputs: Path) -> None:
    cases = find_cases(str(inputs / "cases.csv"), b"k" * 32).cases
    parts = [part_of(cases, (number, 3)) for number in (1, 2, 3)]
    assert sorted(one.name for part in parts for one in part) == sorted(one.name for one in cases)


def test_two_cases_of_one_name_are_reported_by_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case,image\na,1\nMueller,2\nmueller,3\n", encoding="utf-8")
    with pytest.raises(StudyError, match="Cases 2 and 3 have the same name") as raised:
        find_cases(str(tmp_path / "t.csv"), b"k" * 32)
    assert "ueller" not in raised.value.message


def test_a_bids_subject_is_hashed_with_its_cases(tmp_path: Path) -> None:
    image = tmp_path / "sub-Mueller/anat/sub-Mueller_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"x")
    (tmp_path / "dataset_description.json").write_text("{}", encoding="utf-8")
    (case,) = find_cases(str(tmp_path), b"k" * 32).cases
    assert "Mueller" not in case.name + case.groups["subject"]


@pytest.mark.parametrize("name", ["ct.hdr", "ct.img", "ct.Mueller"])
def test_links_keep_endings_that_readers_need_and_nothing_else(tmp_path: Path, name: str) -> None:
    for other in ("ct.hdr", "ct.img", name):
        (tmp_path / other).write_bytes(b"x")
    case = with_hashed_name(Case(name="Mueller", images=(str(tmp_path / name),)), b"k" * 32)
    with linked(case) as shown:
        link = Path(shown.images[0])
        beside = {one.name for one in link.parent.iterdir()}
    ending = "" if name.endswith("Mueller") else link.suffix
    assert link.name == f"{case.name}{ending}"
    assert beside == ({f"{case.name}.hdr", f"{case.name}.img"} if ending else {case.name})
    assert not link.parent.exists()


def test_a_message_keeps_its_words(tmp_path: Path) -> None:
    case = with_hashed_name(Case(name="ima", images=(str(tmp_path / "ima.nrrd"),)), b"k" * 32)
    said = without_names(f"{tmp_path / 'ima.nrrd'} is not an image; IMA has 2.", case)
    assert said == f"{case.name} is not an image; {case.name} has 2."
    shutil.rmtree(tmp_path)
