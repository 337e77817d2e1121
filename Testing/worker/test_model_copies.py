"""What is sent of a model: all files that its reader opens, and nothing that lies beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from SegHiResCAMLib.worker.arrays import go_on
from SegHiResCAMLib.worker.model_copies import NotSentError, fingerprint, offer, places_for
from SegHiResCAMLib.worker.protocol import ModelFile, SendModel

BESIDE = ("patient.nii.gz", "notes.json", "table.csv", "validation/case_1.nii.gz", "eval/case_1.json", ".hidden.pt")

TRAINED = (
    "dataset.json",
    "fold_0/checkpoint_best.pth",
    "fold_0/checkpoint_final.pth",
    "fold_1/checkpoint_best.pth",
    "plans.json",
)
SENT_OF_TRAINED = {"dataset.json", "plans.json", "fold_0/checkpoint_final.pth", "fold_1/checkpoint_best.pth"}

LAYOUTS = {
    "bundle": ("", ("configs/inference.json", "configs/metadata.json", "models/model.pt", "LICENSE"), None),
    "bundle with scripts": ("", ("configs/inference.yaml", "configs/metadata.json", "models/model.ts"), None),
    "auto3dseg": ("", ("model.pt", "labels.csv"), None),
    "auto3dseg in a folder": ("", ("model/model.pt", "model/labels.csv"), None),
    "training": ("", TRAINED, SENT_OF_TRAINED),
    "folder above a training": (
        "",
        tuple(f"Dataset001/a__b__c/{name}" for name in TRAINED),
        {f"Dataset001/a__b__c/{name}" for name in SENT_OF_TRAINED},
    ),
    "fold": ("fold_0", TRAINED, {"dataset.json", "plans.json", "fold_0/checkpoint_final.pth"}),
    "checkpoint of a fold": (
        "fold_0/checkpoint_best.pth",
        TRAINED,
        {"dataset.json", "plans.json", "fold_0/checkpoint_best.pth"},
    ),
    "checkpoint": ("net.pth", ("net.pth", "net.json", "LICENCE.txt"), None),
    "checkpoint with two endings": ("net.pth.tar", ("net.pth.tar", "net.json"), None),
    "description": ("net.json", ("net.safetensors", "net.json"), None),
    "archive": ("model.zip", ("model.zip",), None),
    "script": ("models/model.ts", ("configs/inference.json", "configs/metadata.json", "models/model.ts"), None),
    "checkpoint and labels": ("model.pt", ("model.pt", "labels.csv"), None),
}


def a_folder(folder: Path, files: tuple[str, ...]) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {name}")
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_models_own_files_are_sent_and_no_others(layout: str, tmp_path: Path) -> None:
    opened, files, sent = LAYOUTS[layout]
    folder = a_folder(tmp_path / "the model", (*BESIDE, *files))
    offered, found = offer(folder / opened, go_on)
    assert set(found) == {f"the model/{name}" for name in (sent or files)}
    assert offered.opened == f"the model/{opened}".rstrip("/")
    assert all(found[one.name].stat().st_size == one.size for one in offered.files)


def test_a_description_that_names_its_weights_takes_them_along_and_nothing_else_that_it_names(tmp_path: Path) -> None:
    a_folder(tmp_path, ("weights.pt", "secret.txt"))
    for named, files in (("weights.pt", {"weights.pt"}), ("secret.txt", set()), ("../weights.pt", set())):
        (tmp_path / "net.json").write_text(f'{{"weights": "{named}"}}')
        found = offer(tmp_path / "net.json", go_on)[1]
        assert {Path(name).name for name in found} == {"net.json", *files}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_out_of_the_model_is_not_followed(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "model", ("configs/inference.json", "configs/metadata.json"))
    (folder / "models").mkdir()
    a_folder(tmp_path, ("id_ed25519",))
    (folder / "models" / "model.pt").symlink_to(tmp_path / "id_ed25519")
    with pytest.raises(NotSentError, match="is a link that leads out of the model's folder"):
        offer(folder, go_on)


def test_a_model_that_changes_has_another_fingerprint(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "model", ("model.pt", "labels.csv"))
    before = fingerprint(folder)
    assert fingerprint(folder) == before
    (folder / "model.pt").write_text("other weights")
    assert fingerprint(folder) != before


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGHIRESCAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_copy_has_its_place_by_content_and_only_what_is_missing_is_wanted(cache: Path) -> None:
    files = (ModelFile("net/model.pt", 3, "aa"), ModelFile("net/labels.csv", 2, "bb"))
    path, missing = places_for(SendModel("net", files))
    assert path.is_relative_to(cache)
    assert set(missing) == {"net/model.pt", "net/labels.csv"}
    missing["net/model.pt"].path.write_bytes(b"abc")
    assert set(places_for(SendModel("net", files))[1]) == {"net/labels.csv"}
    other, missing = places_for(SendModel("net", (files[0], ModelFile("net/labels.csv", 2, "cc"))))
    assert other != path
    assert set(missing) == {"net/model.pt", "net/labels.csv"}


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../../x", "C:\\x", "C:x", "", "a\\..\\x", "x" * 2000, "a\0b"]
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, cache: Path) -> None:
    for offered in (SendModel(name, ()), SendModel("net", (ModelFile(name, 1, "aa"),))):
        with pytest.raises(NotSentError):
            places_for(offered)
    assert not cache.exists()
