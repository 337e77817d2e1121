"""Eight bundles of the MONAI Model Zoo, as published: they open, prepare, segment and explain as MONAI would, or are refused for a true reason.

Their weights are freshly initialised ones of the network that MONAI itself makes of each description.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from rounding import close

from SegHiResCAMLib.engine import ExplainRequest, explain, open_model, read_volume, write_volume
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.volume import stack_volumes
from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.inference.slicing import to_stack
from SegHiResCAMLib.engine.models import SegmentationModel

pytestmark = pytest.mark.real_data

# Name; label count, window, blending, activation, what the inferer pads with, axis of slices.
OPENED: dict[str, tuple[Any, ...]] = {
    "brats_mri_segmentation": (3, (240, 240, 160), "constant", "sigmoid", "constant", None),
    "endoscopic_tool_segmentation": (1, None, "gaussian", "softmax", "constant", 2),
    "prostate_mri_anatomy": (2, (96, 96, 96), "constant", "softmax", "constant", None),
    "segmentation_template": (3, None, "gaussian", "softmax", "constant", None),
    "spleen_ct_segmentation": (1, (96, 96, 96), "constant", "softmax", "constant", None),
    "ventricular_short_axis_3label": (3, (256, 256), "constant", "softmax", "constant", 2),
    "wholeBody_ct_segmentation": (104, (96, 96, 96), "gaussian", "softmax", "replicate", None),
}
EVERY = [*OPENED, "renalStructures_CECT_segmentation"]
CROP = {"prostate_mri_anatomy": (14, 14, 14)}
"""Voxels of 3 mm that the network's own spacing makes one window of; (40, 40, 20) for the others."""

Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def folders(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A bundle's folder by its name, weights included."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / name
            for inside in ("configs", "models"):
                (made[name] / inside).mkdir(parents=True)
            for file in (test_data / "monai-bundle-configs" / name / "configs").iterdir():
                (made[name] / "configs" / file.name).write_bytes(file.read_bytes())
            with torch.random.fork_rng():
                torch.manual_seed(0)
                network = monai_parser(made[name]).get_parsed_content("network_def")
            torch.save({"model": network.state_dict()}, made[name] / "models/model.pt")
        return made[name]

    return folder


@pytest.fixture(scope="module")
def files(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """What each bundle is given: cropped MR volumes, a cropped CT, or a colour picture made of three CT slices."""
    folder = tmp_path_factory.mktemp("volumes")

    def given(name: str) -> list[Path]:
        if name == "endoscopic_tool_segmentation":
            slices = read_volume(test_data / "abdomen-ct/example_ct_sm.nii.gz").numpy()[0, :, :, 5:8]
            colours = ((slices.clip(-200, 300) + 200) * 255 / 500).astype(np.uint8)
            sitk.WriteImage(sitk.GetImageFromArray(colours.transpose(1, 0, 2), isVector=True), folder / "tools.png")
            return [folder / "tools.png"]
        ct = name.startswith(("spleen", "wholeBody", "renal"))
        whole = read_volume(test_data / f"abdomen-ct/example_{'ct' if ct else 'mr'}_sm.nii.gz")
        start = [
            length // 2 - half // 2 for length, half in zip(whole.shape[1:], CROP.get(name, (40, 40, 20)), strict=True)
        ]
        box = tuple(slice(at, at + size) for at, size in zip(start, CROP.get(name, (40, 40, 20)), strict=True))
        affine = whole.affine.clone()
        affine[:3, 3] += affine[:3, :3] @ torch.tensor(start, dtype=affine.dtype)
        paths = []
        for number in range(4 if name.startswith("brats") else 1):
            paths.append(folder / f"{name}-{number}.nii.gz")
            write_volume(MetaTensor(whole.as_tensor()[(slice(None), *box)] * (1 + number), affine=affine), paths[-1])
        return paths

    return given


def monai_parser(folder: Path) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(next((folder / "configs").glob("inference.*")))
    return parser


def given_to(model: SegmentationModel, paths: list[Path]) -> MetaTensor:
    return stack_volumes([read_volume(path) for path in paths])


@pytest.mark.parametrize("name", OPENED)
def test_a_bundle_opens_with_its_own_windows_and_labels(name: str, folders: Folders) -> None:
    model = open_model(folders(name))
    found = (
        len(model.labels), model.window.size, model.window.blending, model.activation, model.window.padding_mode, model.slice_axis,
    )  # fmt: skip
    assert found == OPENED[name]


def test_inputs_have_the_names_that_the_bundles_give_them(folders: Folders) -> None:
    assert open_model(folders("brats_mri_segmentation")).inputs == ("T1c", "T1", "T2", "FLAIR")
    assert open_model(folders("endoscopic_tool_segmentation")).inputs == ("R", "G", "B")
    assert open_model(folders("spleen_ct_segmentation")).inputs == ("image",)


def test_the_bundle_that_needs_its_own_script_is_refused_by_the_scripts_name(folders: Folders) -> None:
    with pytest.raises(EngineError) as refusal:
        open_model(folders("renalStructures_CECT_segmentation"))
    assert "scripts.my_transforms.ConcatImages" in refusal.value.message
    assert "code is never run" in refusal.value.message


@pytest.mark.parametrize("name", OPENED)
def test_preprocessing_is_that_of_monai_voxel_for_voxel(
    name: str, folders: Folders, files: Callable[[str], list[Path]]
) -> None:
    model, paths = open_model(folders(name)), files(name)
    prepared = prepare(model, given_to(model, paths)).image
    # On slices, preprocessing of pictures goes on.
    found = to_stack(model, prepared, "auto")[0] if name.startswith("endoscopic") else prepared.as_tensor()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = [str(path) for path in paths]
        expected = monai_parser(folders(name)).get_parsed_content("preprocessing")(
            {"image": file if len(file) > 1 else file[0]}
        )["image"]
    assert found.shape == expected.shape
    if name.startswith("endoscopic"):
        # A picture is resized as a volume of one slice: the same weights, added in another order.
        assert close(found, expected.as_tensor(), dtype=torch.float32)
    else:
        assert torch.equal(found, expected.as_tensor())
        assert np.allclose(prepared.affine, expected.affine, rtol=0, atol=1e-9)


SMALL = [name for name in OPENED if name != "brats_mri_segmentation"]


@pytest.mark.parametrize("name", SMALL)
def test_a_bundle_segments_and_explains(name: str, folders: Folders, files: Callable[[str], list[Path]]) -> None:
    check_explanation(name, folders, files)


@pytest.mark.skipif(
    "SEGHIRESCAM_TEST_LARGE" not in os.environ,
    reason="SEGHIRESCAM_TEST_LARGE is not set: a window of 240 x 240 x 160 takes 5 minutes and 8 GB on a CPU",
)
def test_the_bundle_with_the_largest_windows_segments_and_explains(
    folders: Folders, files: Callable[[str], list[Path]]
) -> None:
    check_explanation("brats_mri_segmentation", folders, files)


def check_explanation(name: str, folders: Folders, files: Callable[[str], list[Path]]) -> None:
    """The segment that the untrained network happens to outline largest is explained, on the volume's own grid."""
    model = open_model(folders(name))
    volume = given_to(model, files(name))
    everything = MetaTensor(torch.ones_like(volume.as_tensor()[:1]), affine=volume.affine)
    explanation = explain(ExplainRequest.of(volume, model, segment=model.labels[0].name, mask=everything, device="cpu"))
    for found in (explanation.signed_map, explanation.segmentation.labels):
        assert found.shape == (1, *volume.shape[1:])
        assert torch.equal(found.affine, volume.affine)
    assert torch.isfinite(explanation.signed_map).all()
    assert explanation.signed_map.any()
    assert set(explanation.segmentation.labels.unique().tolist()) <= {0, *(label.value for label in model.labels)}
    assert explanation.score != 0


class Trap:
    """Remembers what was executed out of a text, and what ran outside of Python, while it is set."""

    def __init__(self) -> None:
        self.caught: list[str] = []
        self.is_set = False
        sys.addaudithook(self.hear)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_set:
            return
        if event == "exec" and getattr(arguments[0], "co_filename", "") == "<string>":
            self.caught.append(str(arguments[0].co_names))
        elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "socket.connect"):
            self.caught.append(event)

    @contextmanager
    def set(self) -> Iterator[list[str]]:
        self.caught, self.is_set = [], True
        try:
            yield self.caught
        finally:
            self.is_set = False


@pytest.fixture(scope="module")
def trap() -> Trap:
    return Trap()


@pytest.mark.parametrize("name", EVERY)
def test_no_expression_of_a_bundle_is_executed(name: str, folders: Folders, trap: Trap) -> None:
    folder = folders(name)
    opened(folder)  # what is imported only now may execute texts of its own
    with trap.set() as caught:
        opened(folder)
    assert caught == []
    with trap.set() as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        monai_parser(folder).get_parsed_content("device")
    assert any("torch" in names for names in caught)


def opened(folder: Path) -> SegmentationModel | None:
    try:
        return open_model(folder)
    except EngineError:
        return None


@pytest.mark.parametrize("name", EVERY)
def test_an_expression_planted_anywhere_in_a_bundle_never_runs(name: str, folders: Folders, tmp_path: Path) -> None:
    """MONAI would run each of them: they stand where its expressions do."""
    trap = tmp_path / "trap"
    source = next((folders(name) / "configs").glob("inference.*"))
    content = ConfigParser.load_config_file(source)
    planted = spring(content, f"$open({str(trap)!r}, 'w')")
    assert planted
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/inference.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "configs/metadata.json").write_bytes((folders(name) / "configs/metadata.json").read_bytes())
    (tmp_path / "models").symlink_to(folders(name) / "models")
    opened(tmp_path)
    assert not trap.exists()
    ConfigParser(content).get_parsed_content("device")
    assert trap.exists()


def spring(node: Any, expression: str) -> int:
    """Put `expression` in the place of every expression in `node`; how many there were."""
    count = 0
    for key, item in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(item, str) and item.startswith("$"):
            node[key] = expression
            count += 1
        elif isinstance(item, dict | list):
            count += spring(item, expression)
    return count
