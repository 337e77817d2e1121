"""What bundles have as they are published: names in any place and order, weights under any name, networks that also take clicks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import DynUNet, SwinUNETR
from refusals import refusal
from tiny_bundle import NETWORK, noise, unet_weights, write_bundle

from SegHiResCAMLib.engine import ExplainRequest, explain, open_model
from SegHiResCAMLib.engine.answer.model_summary import summary_of
from SegHiResCAMLib.engine.inference.segmentation import decide, segment
from SegHiResCAMLib.records.json_form import to_json

UNET: dict[str, Any] = {"spatial_dims": 3, **NETWORK}
DEEP_EDIT: dict[str, Any] = {  # as in spleen_deepedit_annotation, only smaller
    "label_names": {"spleen": 1, "background": 0},
    "spatial_size": [16, 16, 16],
    "number_intensity_ch": 1,
    "network_def": {
        "_target_": "DynUNet",
        "spatial_dims": "$len(@spatial_size)",
        "in_channels": "$len(@label_names) + @number_intensity_ch",
        "out_channels": "$len(@label_names)",
        "kernel_size": "$[3] * 3",
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 8],
        "norm_name": "instance",
        "res_block": True,
    },
    "steps": [
        {"_target_": "LoadImaged", "keys": "image", "reader": "ITKReader"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    ],
    "deepedit_steps": [
        {
            "_target_": "scripts.transforms.OrientationGuidanceMultipleLabelDeepEditd",
            "ref_image": "image",
            "label_names": "@label_names",
        },
        {"_target_": "AddGuidanceFromPointsDeepEditd", "ref_image": "image", "guidance": "guidance"},
        {"_target_": "Resized", "keys": "image", "spatial_size": "@spatial_size", "mode": "area"},
        {"_target_": "ResizeGuidanceMultipleLabelDeepEditd", "guidance": "guidance", "ref_image": "image"},
        {
            "_target_": "AddGuidanceSignalDeepEditd",
            "keys": "image",
            "guidance": "guidance",
            "number_intensity_ch": "@number_intensity_ch",
        },
    ],
    "preprocessing": {"_target_": "Compose", "transforms": "$@steps + @deepedit_steps"},
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        ],
    },
}


def a_bundle(folder: Path, *, pred: dict[str, Any] | None = None, **more: Any) -> Path:
    """A U-Net of three output channels with softmax."""
    inference = {"network_def": {"_target_": "UNet", **UNET}, **more}
    metadata = {"network_data_format": {"outputs": {"pred": pred or {}}}}
    return write_bundle(folder, inference, metadata, unet_weights(UNET))


def found_labels(folder: Path) -> list[tuple[str, int, int]]:
    return [(label.name, label.value, label.channel) for label in open_model(folder).labels]


NAMED = [("liver", 1, 1), ("spleen", 2, 2)]


@pytest.mark.parametrize(
    "pred",
    [
        {"label_def": {"0": "background", "1": "liver", "2": "spleen"}},
        {"channels": {"0": "background", "1": "liver", "2": "spleen"}},
        {"channels": ["background", "liver", "spleen"]},
        {"channel_def": {"background": 0, "liver": 1, "spleen": 2}},
        {"channel_def": {"liver": "1", "spleen": "2"}},
        {"channel_def": ["liver", "spleen"]},
        {"channel_def": {"0": "liver", "1": "spleen"}},
        {"channel_def": {}, "label_def": {"1": "liver", "2": "spleen"}},
        {"label_def": {"0": {"name": "background"}, "1": {"name": "liver"}, "2": {"name": "spleen"}}},
        {"label_def": [{"name": "spleen", "value": 2}, {"name": "liver", "value": 1}]},
        {"label_def": {"abdomen": {"0": "background", "1": "liver", "2": "spleen"}, "lung": {"0": "background", "1": "lung"}}},
        {"label_def": {"lung": {"0": "background", "1": "lung"}, "abdomen": {"0": "background", "1": "liver", "2": "spleen"}}},
    ],
)  # fmt: skip
def test_names_are_read_wherever_the_zoo_writes_them(pred: dict[str, Any], tmp_path: Path) -> None:
    assert found_labels(a_bundle(tmp_path, pred=pred)) == NAMED


@pytest.mark.parametrize("key", ["labels", "label_names"])
def test_names_in_the_configuration_stand_in_for_those_in_the_metadata(key: str, tmp_path: Path) -> None:
    names = {"liver": 1, "spleen": 2, "background": 0}
    assert found_labels(a_bundle(tmp_path, **{key: names})) == NAMED
    assert found_labels(a_bundle(tmp_path, labels="$list(glob.glob('*'))")) == [("class 1", 1, 1), ("class 2", 2, 2)]
    other = {"channel_def": {"1": "kidney", "2": "tumour"}}
    assert [name for name, _, _ in found_labels(a_bundle(tmp_path, pred=other, **{key: names}))] == ["kidney", "tumour"]


@pytest.mark.parametrize(
    ("names", "background", "expected"),
    [
        (["background", "liver", "spleen"], 0, [("liver", 1, 1), ("spleen", 2, 2)]),
        (["liver", "background", "spleen"], 1, [("liver", 1, 0), ("spleen", 2, 2)]),
        (["liver", "spleen", "Background"], 2, [("liver", 1, 0), ("spleen", 2, 1)]),
        (["other", "spleen", "background"], 2, [("other", 1, 0), ("spleen", 2, 1)]),
    ],
)
def test_the_background_is_the_channel_that_is_called_so(
    names: list[str], background: int, expected: list[Any], tmp_path: Path
) -> None:
    model = open_model(a_bundle(tmp_path, pred={"channel_def": dict(enumerate(names))}))
    assert [(label.name, label.value, label.channel) for label in model.labels] == expected
    assert model.background == background
    assert summary_of(model).has_background
    logits = torch.eye(3)[None]  # the first location's highest logit is that of channel 0, and so on
    values = {label.channel: label.value for label in model.labels}
    assert decide(model, logits).tolist() == [[values.get(channel, 0) for channel in range(3)]]


def test_a_contrast_with_the_background_takes_its_channel_wherever_it_is(tmp_path: Path) -> None:
    model = open_model(a_bundle(tmp_path, pred={"channel_def": ["liver", "spleen", "background"]}))
    volume = MetaTensor(torch.from_numpy(noise((16, 16, 16)))[None], affine=torch.eye(4, dtype=torch.float64))
    mask = MetaTensor(torch.ones(1, 16, 16, 16), affine=volume.affine)

    def score(contrast: str | None) -> float:
        return explain(ExplainRequest.of(volume, model, "liver", mask=mask, contrast=contrast, device="cpu")).score

    with torch.no_grad():
        sums = model.network(volume.as_tensor()[None]).double().sum(dim=(0, 2, 3, 4))
    assert score(None) == pytest.approx(float(sums[0]), rel=1e-4)
    assert score("background") == pytest.approx(float(sums[0] - sums[2]), rel=1e-4)


@pytest.mark.parametrize(
    "more",
    [
        {"checkpointloader": {"_target_": "CheckpointLoader", "load_path": "./models/best.pt"}},
        {"handlers": [{"_target_": "CheckpointLoader", "load_path": "$@root + '/models/best.pt'", "load_dict": {"model": "@network"}}]},
        {"handlers": [{"_target_": "CheckpointLoader", "_disabled_": "$not os.path.exists('x')", "load_path": "models/best.pt"}]},
        {"evaluator": {"_target_": "SupervisedEvaluator", "val_handlers": [{"_target_": "CheckpointLoader", "load_path": "@ckpt"}]}},
        {"initialize": ["$@network.load_state_dict(torch.load(@ckpt))"]},
        {"initialize": ["$@network.load_state_dict(torch.load(@root + '/models/best.pt')['model'])"]},
        {"handlers": [
            {"_target_": "CheckpointLoader", "load_path": "models/other.pt", "load_dict": {"teacher": "@teacher_net"}},
            {"_target_": "CheckpointLoader", "load_path": "$os.path.join(@root, 'models', 'best.pt')", "load_dict": {"net": "@network_def"}},
        ]},
    ],
)  # fmt: skip
def test_the_configuration_names_the_weights_wherever_it_loads_them(more: dict[str, Any], tmp_path: Path) -> None:
    folder = a_bundle(tmp_path, root=".", ckpt="$@root + '/models/best.pt'", **more)
    torch.save(unet_weights(UNET, seed=9), folder / "models/best.pt")
    torch.save({"a": torch.zeros(1)}, folder / "models/other.pt")
    model = open_model(folder)
    assert model.weights_file == "best.pt"
    assert torch.equal(
        model.network.state_dict()["model.0.conv.weight"], unet_weights(UNET, seed=9)["model.0.conv.weight"]
    )


def test_the_configuration_names_the_weights_in_a_file_with_several(tmp_path: Path) -> None:
    loader = {"_target_": "CheckpointLoader", "load_path": "models/model.pt", "load_dict": {"model": "@network"}}
    folder = a_bundle(tmp_path, handlers=[loader])
    last, means = unet_weights(UNET, seed=1), unet_weights(UNET, seed=2)
    torch.save({"ema": means, "model": last}, folder / "models/model.pt")
    model = open_model(folder)
    assert torch.equal(model.network.state_dict()["model.0.conv.weight"], last["model.0.conv.weight"])
    assert "'model' is used" in model.notes[0]


@pytest.mark.parametrize(
    ("definition", "named"),
    [
        ({"_target_": "RetinaNet", "feature_extractor": "$monai.apps.detection.networks.x(@backbone)"}, "RetinaNet"),
        (
            {"_target_": "monai.networks.nets.DiNTS", "node_a": "$torch.from_numpy(@arch_ckpt['node_a'])"},
            "monai.networks.nets.DiNTS",
        ),
        ("$monai.networks.nets.vista3d132(in_channels=1)", "monai.networks.nets.vista3d132"),
        ({"_target_": "scripts.networks.unest.UNesT", "in_channels": 1}, "scripts.networks.unest.UNesT"),
        ({"_target_": "TorchVisionFCModel", "model_name": "resnet18"}, "TorchVisionFCModel"),
    ],
)
def test_another_network_is_the_first_reason_whatever_else_is_wrong(
    definition: Any, named: str, tmp_path: Path
) -> None:
    folder = a_bundle(tmp_path)
    inference = {"network_def": definition, "preprocessing": {"_target_": "scripts.mine.Prepare"}, "inferer": "$code()"}
    (folder / "configs/inference.json").write_text(json.dumps(inference), encoding="utf-8")
    (folder / "configs/metadata.json").write_text("broken", encoding="utf-8")
    (folder / "models/model.pt").unlink()
    error = refusal(lambda: open_model(folder))
    assert error.code == "bundle-network"
    assert f"'{named}'" in error.message
    assert ("comes with the model" in error.message) == named.startswith("scripts")
    listed = error.message.partition("one of these networks: ")[2].partition(";")[0].split(", ")
    assert len({name.casefold() for name in listed}) == len(listed) > 10


@pytest.fixture
def deep_edit(tmp_path: Path) -> Path:
    arguments = {
        "spatial_dims": 3, "in_channels": 3, "out_channels": 2, "kernel_size": [3, 3, 3], "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2], "filters": [4, 8, 8], "norm_name": "instance", "res_block": True,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        weights = DynUNet(**arguments).state_dict()
    names = {"channel_def": {"0": "background", "1": "spleen"}}
    formats = {"inputs": {"image": {"num_channels": 3, "channel_def": {"0": "image"}}}, "outputs": {"pred": names}}
    return write_bundle(tmp_path / "deepedit", DEEP_EDIT, {"network_data_format": formats}, {"model": weights})


def test_deep_edit_opens_without_its_clicks_and_says_so(deep_edit: Path) -> None:
    model = open_model(deep_edit)
    assert (model.in_channels, model.inputs, [label.name for label in model.labels]) == (1, ("image",), ["spleen"])
    image = torch.from_numpy(noise((16, 16, 16)))[None, None]
    alone = DynUNet(
        3, 3, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8], norm_name="instance", res_block=True
    ).eval()
    alone.load_state_dict(torch.load(deep_edit / "models/model.pt", weights_only=True)["model"])
    with torch.no_grad():
        assert torch.equal(model.network(image), alone(torch.cat([image, torch.zeros(1, 2, 16, 16, 16)], dim=1)))
    assert any("clicks" in note for note in summary_of(model).notes)


def test_deep_edit_segments_and_explains_and_the_explanation_says_what_is_missing(deep_edit: Path) -> None:
    model = open_model(deep_edit)
    volume = MetaTensor(torch.from_numpy(noise((20, 18, 16)))[None], affine=torch.eye(4, dtype=torch.float64))
    assert segment(model, volume, device="cpu").labels.shape == volume.shape
    mask = MetaTensor(torch.ones(volume.shape), affine=volume.affine)
    explanation = explain(ExplainRequest.of(volume, model, "spleen", mask=mask, device="cpu"))
    assert np.isfinite(explanation.signed_map).all()
    assert any("clicks" in finding.message for finding in explanation.findings)


def test_a_swin_unetr_of_before_monai_1_5_opens_with_a_note(tmp_path: Path) -> None:
    arguments = {"in_channels": 1, "out_channels": 3, "feature_size": 12, "spatial_dims": 3, "use_checkpoint": False}
    weights = SwinUNETR(**arguments).state_dict()
    definition = {"_target_": "SwinUNETR", "img_size": 96, **arguments}
    folder = write_bundle(tmp_path, {"network_def": definition}, {}, {"model": weights})
    assert any("img_size" in note for note in open_model(folder).notes)


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("LICENSE", "    Apache License\n   Version 2.0, January 2004\n", "Apache-2.0"),
        ("license.txt", "MIT License\n\nCopyright (c) somebody\n", "MIT"),
        ("LICENSE", "Code License\n\nThis and that\n", "Code License"),
    ],
)
def test_the_licence_beside_a_model_is_its_licence_where_its_description_has_none(
    name: str, text: str, licence: str, tmp_path: Path
) -> None:
    folder = a_bundle(tmp_path)
    (folder / name).write_text(text, encoding="utf-8")
    assert summary_of(open_model(folder)).licence == licence


def test_a_models_facts_name_the_files_that_were_read_and_no_others(tmp_path: Path) -> None:
    folder = a_bundle(tmp_path)
    (folder / "models/model.pt").rename(folder / "models/best_metric.pt")
    summary = summary_of(open_model(folder))
    assert (summary.format, summary.weights_file) == ("MONAI bundle", "best_metric.pt")
    assert "model.pt" not in json.dumps(to_json(summary))
