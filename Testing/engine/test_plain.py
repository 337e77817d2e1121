"""Plain checkpoints open by the JSON beside them as it says, and every mistake in it is a message that names the field."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks import nets
from refusals import refusal
from safetensors.torch import save_file

from SegHiResCAMLib.engine.inference.preprocessing import prepare
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.schemas import check
from SegHiResCAMLib.resources import resource

UNET: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [2, 4], "strides": [2]}
FLAT: dict[str, Any] = {**UNET, "spatial_dims": 2}
DESCRIPTION: dict[str, Any] = {
    "name": "Kidney and tumour",
    "description": "Outlines two things.",
    "licence": "MIT",
    "network": {"class": "UNet", "arguments": UNET},
    "labels": [{"name": "Kidney"}, {"name": "thing", "value": 7, "color": [255, 0, 51], "snomed": "108369006"}],
    "orientation": "LPS",
    "spacing": [2, None, 3],
    "intensity": [{"step": "scale", "range": [-100, 300], "to": [0, 2], "clip": True}],
    "window": {"size": [16, 16, 8], "overlap": 0.5, "blending": "constant"},
    "largest_component": True,
}

Checkpoint = Callable[..., Path]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    """Writes weights and, with changes to the sample above (None takes a field out), their description."""

    def write(changes: dict[str, Any] | None = None, name: str = "model.pt", network: Any = None) -> Path:
        path = tmp_path / name
        weights = (network or nets.UNet(**UNET)).state_dict()
        if path.suffix == ".safetensors":
            save_file(weights, path)
        else:
            torch.save(weights, path)
        content = {**DESCRIPTION, **(changes or {})}
        kept = {key: value for key, value in content.items() if value is not None}
        path.with_suffix(".json").write_text(json.dumps(kept), encoding="utf-8")
        return path

    return write


def flat(intensity: list[dict[str, Any]]) -> dict[str, Any]:
    """Changes for a 2D network."""
    network = {"class": "UNet", "arguments": FLAT}
    return {"network": network, "window": None, "intensity": intensity}


@pytest.mark.parametrize("name", ["model.pt", "model.PTH", "Müllers Modell.safetensors"])
def test_a_checkpoint_opens_with_all_that_its_description_says(checkpoint: Checkpoint, name: str) -> None:
    path = checkpoint(name=name)
    model = open_model(path)
    assert (model.name, model.licence, model.description) == ("Kidney and tumour", "MIT", "Outlines two things.")
    assert (model.spatial_dims, model.in_channels, model.activation) == (3, 1, "softmax")
    assert [(label.name, label.value, label.channel) for label in model.labels] == [("Kidney", 1, 1), ("thing", 7, 2)]
    codes = [label.terminology.type.value for label in model.labels if label.terminology]
    assert codes == ["64033007", "108369006"]
    assert model.labels[1].terminology.region.value == "64033007"
    assert model.labels[1].color == (1, 0, 0.2)
    assert (model.window.size, model.window.overlap, model.window.blending) == ((16, 16, 8), 0.5, "constant")
    assert model.window.multiple == 2
    assert model.largest_component
    assert model.source == str(path)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_description_opens_as_well_as_the_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = checkpoint()
    assert open_model(path.with_suffix(".json")).sha256 == open_model(path).sha256
    path.rename(tmp_path / "epoch 12.pth")
    content = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**content, "weights": "epoch 12.pth"}))
    assert open_model(tmp_path / "model.json").name == "Kidney and tumour"


def test_the_network_predicts_what_the_saved_one_predicts(checkpoint: Checkpoint) -> None:
    saved = nets.UNet(**UNET).eval()
    model = open_model(checkpoint(network=saved))
    image = torch.randn(1, 1, 8, 12, 16)
    assert torch.equal(model.network(image), saved(image))


def test_what_is_left_out_has_the_defaults_of_the_schema(checkpoint: Checkpoint) -> None:
    bare = ("name", "orientation", "spacing", "intensity", "window", "largest_component", "licence", "description")
    model = open_model(checkpoint({**dict.fromkeys(bare), "labels": [{"name": "a"}, {"name": "b"}]}))
    assert (model.name, model.window.size, model.largest_component) == ("model", None, False)
    volume = MetaTensor(torch.randn(1, 4, 6, 8), affine=torch.eye(4, dtype=torch.float64))
    assert torch.equal(prepare(model, volume).image.as_tensor(), volume.as_tensor())


# What is done to a volume


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([{"step": "clip", "range": [-1, 0.5]}], lambda v: v.clip(-1, 0.5)),
        ([{"step": "scale", "range": [-1, 1]}], lambda v: (v + 1) / 2),
        ([{"step": "scale", "range": [-1, 1], "to": [0, 255], "clip": True}], lambda v: ((v + 1) / 2 * 255).clip(0, 255)),
        ([{"step": "min-max"}], lambda v: (v - v.min()) / (v.max() - v.min())),
        ([{"step": "min-max", "to": [-1, 1]}], lambda v: 2 * (v - v.min()) / (v.max() - v.min()) - 1),
        ([{"step": "z-score", "mean": 3, "std": 2}], lambda v: (v - 3) / 2),
        ([{"step": "z-score"}], lambda v: (v - v.mean()) / v.std()),
        ([{"step": "clip", "range": [0, 1]}, {"step": "z-score"}], lambda v: (v.clip(0, 1) - v.clip(0, 1).mean()) / v.clip(0, 1).std()),
    ],
)  # fmt: skip
def test_intensities_are_what_their_formulas_say(checkpoint: Checkpoint, steps: list, expected: Callable) -> None:
    values = np.random.default_rng(0).normal(size=(6, 5, 4))
    model = open_model(checkpoint({"orientation": "RAS", "spacing": None, "intensity": steps}))
    image = prepare(model, MetaTensor(values.astype(np.float32)[None], affine=torch.eye(4, dtype=torch.float64))).image
    np.testing.assert_allclose(image.numpy()[0], expected(values), rtol=1e-5, atol=1e-5)


def test_nonzero_voxels_alone_are_normalised_by_their_own_mean(checkpoint: Checkpoint) -> None:
    values = np.random.default_rng(0).normal(5, 1, size=(6, 5, 4))
    values[:3] = 0
    model = open_model(
        checkpoint({"orientation": None, "spacing": None, "intensity": [{"step": "z-score", "nonzero": True}]})
    )
    image = prepare(model, MetaTensor(values.astype(np.float32)[None], affine=torch.eye(4, dtype=torch.float64))).image
    found, body = image.numpy()[0], values != 0
    np.testing.assert_allclose(found[body], (values[body] - values[body].mean()) / values[body].std(), rtol=1e-4)
    assert (found[~body] == 0).all()


def test_each_slice_is_scaled_by_its_own_range(checkpoint: Checkpoint) -> None:
    steps = [{"step": "clip", "range": [-2, 2]}, {"step": "min-max", "to": [0, 255], "per": "slice"}]
    model = open_model(checkpoint(flat(steps), network=nets.UNet(**FLAT)))
    picture = torch.tensor([[[1.0, 2], [4, 5]]])
    assert torch.equal(torch.as_tensor(model.slice_preprocessing(picture)), (picture - 1) / 4 * 255)


def test_the_volume_is_turned_and_resampled_as_described(checkpoint: Checkpoint) -> None:
    """A ramp along the patient's left comes out as a ramp along the first axis of LPS, at the described spacing."""
    affine = torch.diag(torch.tensor([1.0, 1.5, 1, 1], dtype=torch.float64))
    ramp = torch.arange(21, dtype=torch.float32).reshape(1, 21, 1, 1).expand(1, 21, 6, 7).clone()
    model = open_model(checkpoint({"intensity": None}))
    image = prepare(model, MetaTensor(ramp, affine=affine)).image
    assert image.shape == (1, 11, 6, 3)
    assert torch.allclose(image.as_tensor()[0, :, 2, 1], torch.arange(20, -1, -2, dtype=torch.float32), atol=1e-4)


def test_foreground_is_cropped_before_everything_is_resized(checkpoint: Checkpoint) -> None:
    values = torch.zeros(1, 12, 12, 12)
    values[:, 2:6, 2:10, 4:8] = 1
    changes = {"spacing": None, "orientation": "RAS", "intensity": None, "crop_foreground": True, "resize": [8, 8, 8]}
    image = prepare(open_model(checkpoint(changes)), MetaTensor(values, affine=torch.eye(4, dtype=torch.float64))).image
    assert image.shape == (1, 8, 8, 8)
    assert (image.as_tensor() == 1).all()


# What is refused


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network": None}, "lacks 'network'"),
        ({"labels": None}, "lacks 'labels'"),
        ({"labels": []}, "'labels'"),
        ({"labels": [{"value": 1}]}, "lacks 'name' in 'labels[0]'"),
        ({"labels": [{"name": "a", "value": 0}]}, "has 0 in 'labels[0].value', where at least 1"),
        ({"labels": [{"name": "a", "channel": 3}]}, "output channel 3 in 'labels[0]'"),
        ({"labels": [{"name": "a"}, {"name": "A"}]}, "two 'labels' with the name a"),
        ({"labels": [{"name": "a", "value": 2}, {"name": "b"}]}, "two 'labels' with the value 2"),
        ({"labels": [{"name": "a", "color": [0, 0, 256]}]}, "'labels[0].color[2]'"),
        ({"labels": [{"name": "a", "snomed": "kidney"}]}, "'labels[0].snomed'"),
        ({"network": {"class": "UNet"}}, "lacks 'arguments' in 'network'"),
        ({"network": {"class": "os.system", "arguments": {}}}, "os.system"),
        ({"network": {"class": "UNet", "arguments": {**UNET, "chanels": [2]}}}, "chanels"),
        ({"network": {"class": "UNet", "arguments": {**UNET, "spatial_dims": 1}}}, "spatial_dims"),
        ({"network": {"class": "UNet", "arguments": {**UNET, "in_channels": "1"}}}, "in_channels"),
        ({"spacng": [1, 1, 1]}, "unknown field \"spacng\" (did you mean 'spacing'?)"),
        ({"two\nlines": 1}, 'unknown field "two\\nlines"'),
        ({"labels": [{"name": "two\nlines"}]}, "'labels[0].name'"),
        ({"labels": [{"name": "a last one\n"}]}, "'labels[0].name'"),
        ({"spacing": [1, 1]}, "'spacing'"),
        ({"spacing": [1, 1, -1]}, "has -1 in 'spacing[2]', where more than 0"),
        ({"spacing": [1, 1, "1 mm"]}, "'spacing[2]'"),
        ({"orientation": "RAA"}, "'orientation'"),
        ({"orientation": "ras"}, "'orientation'"),
        ({"intensity": [{"step": "window"}]}, "'intensity[0].step'"),
        ({"intensity": [{"step": "scale"}]}, "lacks 'range' in 'intensity[0]'"),
        ({"intensity": [{"step": "clip", "range": [3, 2]}]}, "'intensity[0].range'"),
        ({"intensity": [{"step": "z-score", "mean": 3}]}, "'mean' in 'intensity[0]' without 'std'"),
        ({"intensity": [{"step": "min-max", "per": "slice"}]}, "does not work on slices"),
        ({"intensity": [{"step": "clip", "range": [0, float("nan")]}]}, "'intensity[0].range[1]'"),
        ({"window": {"size": [8, 8]}}, "'window.size'"),
        ({"window": {"size": [8, 8, 0]}}, "'window.size[2]'"),
        ({"window": {"size": [8, 8, 8], "overlap": 1}}, "has 1 in 'window.overlap', where less than 1"),
        ({"activation": "relu"}, '"softmax" or "sigmoid"'),
        ({"inputs": ["T1", "T2"]}, "names 2 in 'inputs'"),
        ({"inputs": ["T1", "T1"]}, "'inputs'"),
        ({"largest_component": "yes"}, "true or false"),
        ({"weights": "../model.pt"}, "'weights'"),
        ({"weights": "/etc/passwd"}, "'weights'"),
        ({"to_do": ["spacing: is a guess."]}, "with open questions: spacing: is a guess. Decide"),
    ],
)
def test_every_mistake_is_a_message_that_names_the_field(checkpoint: Checkpoint, changes: dict, says: str) -> None:
    path = checkpoint(changes)
    message = refusal(lambda: open_model(path)).message
    assert says in message
    assert "model.json" in message


def test_weights_of_another_network_are_refused(checkpoint: Checkpoint) -> None:
    network = {"class": "UNet", "arguments": {**UNET, "channels": [2, 5]}}
    assert refusal(lambda: open_model(checkpoint({"network": network}))).code == "weights-mismatch"


def test_a_description_of_an_endless_network_is_refused_at_once(checkpoint: Checkpoint) -> None:
    network = {"class": "UNet", "arguments": {**UNET, "num_res_units": 10_000}}
    path = checkpoint({"network": network})
    start = time.process_time()
    assert "many times more weights" in refusal(lambda: open_model(path)).message
    assert time.process_time() - start < 5


def test_slices_cannot_be_treated_before_the_volume(checkpoint: Checkpoint) -> None:
    steps = [{"step": "min-max", "per": "slice"}, {"step": "clip", "range": [0, 1]}]
    assert "'intensity[1]'" in refusal(lambda: open_model(checkpoint(flat(steps), network=nets.UNet(**FLAT)))).message


def test_weights_without_a_description_say_what_to_do(checkpoint: Checkpoint) -> None:
    path = checkpoint()
    path.with_suffix(".json").unlink()
    error = refusal(lambda: open_model(path))
    assert error.code == "description-absent"
    assert f"seghirescam describe {path}" in error.message
    path.write_bytes(b"")
    assert refusal(lambda: open_model(path)).code == "weights-empty"


def test_a_description_without_weights_names_those_that_it_looks_for(checkpoint: Checkpoint) -> None:
    path = checkpoint()
    path.unlink()
    assert "'model.pt'" in refusal(lambda: open_model(path.with_suffix(".json"))).message


def test_shipped_schemas_are_sound() -> None:
    import jsonschema

    for name in ("model", "catalogue"):
        rules = json.loads(resource("Schemas", f"{name}.schema.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(rules)
    check(DESCRIPTION, "model", "model.json")


# Real networks


def test_opening_a_kidney_network_takes_less_than_two_seconds() -> None:
    open_model(resource("Models", "kidney-phantom-2d"))  # what is imported when first used
    start = time.process_time()
    open_model(resource("Models", "kidney-phantom-3d"))
    assert time.process_time() - start < 2


@pytest.mark.real_data
def test_real_checkpoints_open_in_less_than_two_seconds_and_predict_what_their_bundles_predict(
    test_data: Path, tmp_path: Path
) -> None:
    kits19 = {
        "network": {"class": "BasicUNet", "arguments": {"spatial_dims": 2, "in_channels": 1, "out_channels": 1}},
        "labels": [{"name": "kidney"}],
        "orientation": "LPS",
        "intensity": [
            {"step": "clip", "range": [-125, 225]},
            {"step": "min-max", "to": [0, 255], "per": "slice"},
        ],
    }
    weights = test_data / "kits19-unet2d" / "basicunet2d_kits19_kidney.pt"
    plain = tmp_path / "kits19.pt"
    plain.write_bytes(weights.read_bytes())
    plain.with_suffix(".json").write_text(json.dumps(kits19))
    folder = tmp_path / "bundle"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "model.pt").write_bytes(weights.read_bytes())
    (folder / "configs").mkdir()
    for name in ("inference.json", "metadata.json"):
        ours = Path(__file__).parents[1] / "data" / "kits19-unet2d" / "configs" / name
        (folder / "configs" / name).write_bytes(ours.read_bytes())
    bundle = open_model(folder)
    start = time.process_time()
    model = open_model(plain)
    assert time.process_time() - start < 2
    values = np.random.default_rng(0).normal(0, 200, (1, 32, 48, 3)).astype(np.float32)
    affine = torch.tensor([[-0.9, 0.1, 0, 5], [0.1, 0.9, 0.2, 6], [0, -0.2, 3, 7], [0, 0, 0, 1]], dtype=torch.float64)
    volume = MetaTensor(values, affine=affine)
    ours, theirs = prepare(model, volume).image, prepare(bundle, volume).image
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())
    assert torch.equal(ours.affine, theirs.affine)
    pictures = [torch.as_tensor(one.slice_preprocessing(ours.as_tensor()[..., 1])) for one in (model, bundle)]
    assert torch.equal(model.network(pictures[0][None]), bundle.network(pictures[1][None]))
    assert (model.window.multiple, model.activation) == (bundle.window.multiple, bundle.activation)
