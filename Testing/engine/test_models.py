"""Models open as their makers meant them, and hostile or broken ones are refused before anything in them runs."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.networks import nets
from monai.transforms import Compose, Resize, ScaleIntensity
from refusals import Trap, changed_at, done_or_refused, places, refusal
from tiny_bundle import write_bundle

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.inference.segmentation import decide
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.labels import distinct_color
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_weights
from SegHiResCAMLib.terminology import KNOWN

OURS = Path(__file__).parents[1] / "data"

UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [2, 4, 8], "strides": [2, 2]}
INFERENCE: dict[str, Any] = {
    "device": "$torch.device('cuda:0')",
    "network_def": {"_target_": "UNet", **UNET},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "reader": "$monai.data.ITKReader()"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "EnsureTyped", "keys": "image", "device": "@device"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 8], "device": "@device"},
    "handlers": ["$open('/nowhere/at/all')"],
}
METADATA: dict[str, Any] = {
    "name": "Two organs",
    "license": "MIT",
    "description": "Outlines two organs.",
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": " spleen ", "2": "gadget"}}}},
}

Bundle = Callable[..., Path]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Writes a bundle folder out of the samples above with changes: `inference`, `metadata` (merged) and `weights` (in their place)."""

    def write(
        inference: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, weights: object = None
    ) -> Path:
        own = nets.UNet(**UNET).state_dict() if weights is None else weights
        return write_bundle(
            tmp_path / "bundle", {**INFERENCE, **(inference or {})}, {**METADATA, **(metadata or {})}, own
        )

    return write


def with_transforms(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"preprocessing": {"_target_": "Compose", "transforms": list(transforms)}}


def with_postprocessing(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"postprocessing": {"_target_": "Compose", "transforms": list(transforms)}}


def channel_def(names: object) -> dict[str, Any]:
    return {"network_data_format": {"outputs": {"pred": {"channel_def": names}}}}


# What opens


def test_a_bundle_opens_with_all_that_it_says(bundle: Bundle) -> None:
    folder = bundle()
    model = open_model(str(folder))
    assert (model.name, model.licence, model.description) == ("Two organs", "MIT", "Outlines two organs.")
    assert (model.spatial_dims, model.in_channels, model.activation) == (3, 1, "softmax")
    assert [(label.name, label.value, label.channel) for label in model.labels] == [("spleen", 1, 1), ("gadget", 2, 2)]
    assert (model.labels[0].terminology, model.labels[0].color) == KNOWN["spleen"]
    assert model.labels[1].terminology is None
    assert model.window.size == (16, 16, 8)
    assert (model.window.overlap, model.window.blending, model.window.multiple) == (0.25, "constant", 4)
    assert model.source == str(folder)
    assert model.sha256 == hashlib.sha256((folder / "models/model.pt").read_bytes()).hexdigest()
    assert [type(step).__name__ for step in model.preprocessing.transforms] == ["Orientationd", "EnsureTyped"]


def test_the_network_predicts_what_the_saved_one_predicts_and_is_frozen(bundle: Bundle) -> None:
    saved = nets.UNet(**UNET).eval()
    model = open_model(bundle(weights=saved.state_dict()))
    image = torch.randn(1, 1, 8, 12, 16)
    assert torch.equal(model.network(image), saved(image))
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


def test_opening_leaves_the_random_numbers_of_the_caller_alone(bundle: Bundle) -> None:
    folder = bundle()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    open_model(folder)
    assert torch.equal(torch.rand(3), expected)


def test_a_folder_name_with_umlauts_and_spaces_opens(bundle: Bundle) -> None:
    folder = bundle()
    renamed = folder.rename(folder.with_name("Müllers Modell 腎臓"))
    assert open_model(renamed).source == str(renamed)


def test_a_yaml_configuration_opens_as_its_json_twin(bundle: Bundle) -> None:
    folder = bundle()
    expected = open_model(folder)
    # JSON is YAML.
    (folder / "configs/inference.json").rename(folder / "configs/inference.yaml")
    model = open_model(folder)
    assert (model.labels, model.window) == (expected.labels, expected.window)


@pytest.mark.parametrize("name", ["UNet", "Unet", "monai.networks.nets.UNet", "monai.networks.nets.unet.UNet"])
def test_networks_open_by_short_and_full_names(name: str, bundle: Bundle) -> None:
    assert isinstance(open_model(bundle({"network_def": {"_target_": name, **UNET}})).network, nets.UNet)


def test_a_network_without_network_def_is_found(bundle: Bundle) -> None:
    folder = bundle({"network": {"_target_": "UNet", **UNET}})
    config = json.loads((folder / "configs/inference.json").read_text())
    del config["network_def"]
    (folder / "configs/inference.json").write_text(json.dumps(config))
    assert isinstance(open_model(folder).network, nets.UNet)


@pytest.mark.parametrize(
    ("definition", "size", "multiple"),
    [
        ({"_target_": "UNet", **UNET, "channels": [2, 4, 4, 4], "strides": [2, 3, 2]}, (12, 24), 12),
        ({"_target_": "AttentionUnet", **UNET, "channels": [2, 4, 8], "strides": [2, 2]}, (4, 8), 4),
        ({"_target_": "SegResNet", "spatial_dims": 2, "init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]}, (4, 12), 4),
        ({"_target_": "BasicUNet", "spatial_dims": 2, "features": [2, 2, 2, 2, 2, 2]}, (16, 32), 16),
        (
            {
                "_target_": "DynUNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3, "filters": [4, 4, 4],
                "kernel_size": [3, 3, 3], "strides": [1, 2, [2, 4]], "upsample_kernel_size": [2, [2, 4]],
            },
            (8, 16),
            8,
        ),
    ],
    ids=lambda value: value["_target_"] if isinstance(value, dict) else None,
)  # fmt: skip
def test_images_of_the_required_multiple_pass_through_the_network(
    definition: dict[str, Any], size: tuple[int, int], multiple: int, bundle: Bundle
) -> None:
    definition = {**definition, "spatial_dims": 2}
    arguments = {key: value for key, value in definition.items() if key != "_target_"}
    network = getattr(nets, definition["_target_"])(**arguments)
    inference = {"network_def": definition, "inferer": {"_target_": "SimpleInferer"}, **with_transforms()}
    model = open_model(bundle(inference, channel_def({}), network.state_dict()))
    assert model.window.multiple == multiple
    assert model.network(torch.zeros(1, 1, *size)).shape[2:] == size


@pytest.mark.parametrize(
    ("shape", "multiple"),
    [(["8*n"], 8), (["6 * n", "n*4"], 12), ([96, 96, 96], 4), (["*", "*"], 4), (["2**p*n"], 4), ("8*n", 4), (None, 4)],
)
def test_the_multiple_fits_the_description_and_the_network(shape: object, multiple: int, bundle: Bundle) -> None:
    metadata = {"network_data_format": {"inputs": {"image": {"spatial_shape": shape}}}}
    assert open_model(bundle(metadata=metadata)).window.multiple == multiple


@pytest.mark.parametrize(
    ("inferer", "size", "overlap", "blending"),
    [
        ({"_target_": "SimpleInferer"}, None, 0.25, "gaussian"),
        ({"_target_": "SlidingWindowInferer", "roi_size": 32}, (32, 32, 32), 0.25, "constant"),
        ({"_target_": "SlidingWindowInferer", "roi_size": [-1, -1, -1], "mode": "gaussian"}, None, 0.25, "gaussian"),
        ({"_target_": "monai.inferers.SlidingWindowInferer", "roi_size": [8, 4, 2], "overlap": [0.5, 0.5, 0.5]}, (8, 4, 2), 0.5, "constant"),
        ({"_target_": "SlidingWindowInferer", "roi_size": [8, 4, 2], "overlap": 0}, (8, 4, 2), 0.0, "constant"),
        ({"_target_": "SlidingWindowInferer", "roi_size": [8, -1, 2]}, (8, None, 2), 0.25, "constant"),
        ({"_target_": "SlidingWindowInferer", "roi_size": [8, None, 0]}, (8, None, None), 0.25, "constant"),
        ({"_target_": "SlidingWindowInferer", "roi_size": None}, None, 0.25, "constant"),
        ({"_target_": "SlidingWindowInferer", "roi_size": 8, "overlap": [0, 0.5, 0.1]}, (8, 8, 8), (0.0, 0.5, 0.1), "constant"),
    ],
)  # fmt: skip
def test_windows_are_those_of_the_inferer(
    inferer: dict[str, Any],
    size: tuple[int | None, ...] | None,
    overlap: float | tuple[float, ...],
    blending: str,
    bundle: Bundle,
) -> None:
    window = open_model(bundle({"inferer": inferer})).window
    assert (window.size, window.overlap, window.blending) == (size, overlap, blending)


@pytest.mark.parametrize("roi", [[256, 192], [256, 192, 1]])
def test_a_slice_inferer_gives_windows_of_a_slice(roi: list[int], bundle: Bundle) -> None:
    definition = {**UNET, "spatial_dims": 2}
    inferer = {"_target_": "SliceInferer", "roi_size": roi, "spatial_dim": 2}
    folder = bundle(
        {"network_def": {"_target_": "UNet", **definition}, "inferer": inferer},
        weights=nets.UNet(**definition).state_dict(),
    )
    assert open_model(folder).window.size == (256, 192)


@pytest.mark.parametrize(
    "inferer",
    [
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8]},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "overlap": 1.0},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "mode": "sometimes"},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "sigma_scale": 0},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "sigma_scale": [0.1, 0, 0.1]},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "overlap": [0.5, 0.25]},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8.5]},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "padding_mode": "wrap"},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "cval": "dark"},
        {"_target_": "SlidingWindowInferer", "roi_size": [8, 8, 8], "with_coord": True},
        {"_target_": "SliceInferer", "roi_size": [8, 8], "spatial_dim": 3},
        {"_target_": "SlidingWindowInferer"},
        {"_target_": "SaliencyInferer", "cam_name": "GradCAM"},
        {"_target_": "os.system", "command": "touch trap"},
        {"_target_": "scripts.SlidingWindowInferer", "roi_size": [8, 8, 8]},
        "text",
    ],
)
def test_inferers_that_work_in_another_way_are_refused(inferer: object, bundle: Bundle) -> None:
    folder = bundle({"inferer": inferer})
    assert refusal(lambda: open_model(folder)).code == "bundle-inferer"


@pytest.mark.parametrize(
    ("steps", "activation"),
    [
        ([{"_target_": "Activationsd", "keys": "pred", "softmax": True}], "softmax"),
        ([{"_target_": "Activationsd", "keys": "pred", "sigmoid": True, "softmax": False}], "sigmoid"),
        ([{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}], "softmax"),
        ([{"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}], "sigmoid"),
        ([{"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [False, True], "threshold": [0.5, None]}], "sigmoid"),
        ([{"_target_": "AsDiscreted", "keys": "label", "threshold": 0.5}], "softmax"),
        ([], "softmax"),
    ],
)  # fmt: skip
def test_the_activation_is_that_of_the_postprocessing(steps: list[Any], activation: str, bundle: Bundle) -> None:
    assert open_model(bundle(with_postprocessing(*steps))).activation == activation


@pytest.mark.parametrize("threshold", [0.5, 0.3, 0.85])
def test_channels_are_outlined_above_the_threshold_of_the_postprocessing(threshold: float, bundle: Bundle) -> None:
    model = open_model(bundle(with_postprocessing({"_target_": "AsDiscreted", "keys": "pred", "threshold": threshold})))
    logits = torch.randn(2, 3, 9, 9, dtype=torch.float64) * 2
    probability, channel = logits.sigmoid().max(dim=1)  # channel 0 is background, and so is its value
    assert torch.equal(decide(model, logits), torch.where(probability > threshold, channel, 0).to(torch.int16))


@pytest.mark.parametrize(
    "step",
    [
        {"keys": "pred", "threshold": 1.5},
        {"keys": "pred", "threshold": 0},
        {"keys": "pred", "threshold": "high"},
        {"keys": "pred", "argmax": True, "threshold": 0.3},
    ],
)
def test_thresholds_that_are_none_of_a_sigmoid_are_refused(step: dict[str, Any], bundle: Bundle) -> None:
    folder = bundle(with_postprocessing({"_target_": "AsDiscreted", **step}))
    assert refusal(lambda: open_model(folder)).code == "bundle-postprocessing"


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [({}, True), ({"applied_labels": [1, 2]}, True), ({"applied_labels": [1]}, False), ({"independent": False}, False)],
)
def test_the_largest_component_is_kept_where_every_label_keeps_its_own(
    arguments: dict[str, Any], kept: bool, bundle: Bundle
) -> None:
    step = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", **arguments}
    model = open_model(bundle(with_postprocessing(step)))
    assert model.largest_component is kept
    assert model.metadata["postprocessing_left_out"] == ([] if kept else ["KeepLargestConnectedComponentd"])


def test_postprocessing_that_is_not_applied_is_a_note(bundle: Bundle) -> None:
    step = {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x[1:]"}
    model = open_model(bundle(with_postprocessing(step)))
    assert "are not applied (Lambdad)" in model.notes[-1]
    assert model.metadata["postprocessing_left_out"] == ["Lambdad"]


@pytest.mark.parametrize(
    ("names", "softmax", "sigmoid"),
    [
        ({"0": "background", "1": "a", "2": "b"}, [("a", 1, 1), ("b", 2, 2)], [("a", 1, 1), ("b", 2, 2)]),
        ({"background": 0, "a": 1, "b": 2}, [("a", 1, 1), ("b", 2, 2)], [("a", 1, 1), ("b", 2, 2)]),
        (["Background", "a", "b"], [("a", 1, 1), ("b", 2, 2)], [("a", 1, 1), ("b", 2, 2)]),
        (["a", "b"], [("a", 1, 1), ("b", 2, 2)], [("class 1", 1, 0), ("a", 2, 1), ("b", 3, 2)]),
        ({"0": "a", "1": "b", "2": "c"}, [("b", 1, 1), ("c", 2, 2)], [("a", 1, 0), ("b", 2, 1), ("c", 3, 2)]),
        ({"1": "a", "2": "a"}, [("a", 1, 1), ("a 2", 2, 2)], [("class 1", 1, 0), ("a", 2, 1), ("a 3", 3, 2)]),
        ("no idea", [("class 1", 1, 1), ("class 2", 2, 2)], [("class 1", 1, 0), ("class 2", 2, 1), ("class 3", 3, 2)]),
    ],
)
def test_labels_leave_out_the_background(names: object, softmax: list[Any], sigmoid: list[Any], bundle: Bundle) -> None:
    for activation, expected in (("softmax", softmax), ("sigmoid", sigmoid)):
        steps = with_postprocessing({"_target_": "Activationsd", "keys": "pred", activation: True})
        labels = open_model(bundle(steps, channel_def(names))).labels
        assert [(label.name, label.value, label.channel) for label in labels] == expected


@pytest.mark.parametrize("names", [{"0": "Kidney"}, {"0": "background", "1": "Kidney"}, ["Kidney"]])
def test_one_output_channel_is_a_label_of_value_one(names: object, bundle: Bundle) -> None:
    definition = {**UNET, "out_channels": 1}
    folder = bundle(
        {"network_def": {"_target_": "UNet", **definition}}, channel_def(names), nets.UNet(**definition).state_dict()
    )
    model = open_model(folder)
    assert model.activation == "sigmoid"
    assert [(label.name, label.value, label.channel) for label in model.labels] == [("Kidney", 1, 0)]
    assert model.labels[0].terminology == KNOWN["kidney"][0]


def test_names_for_channels_that_are_not_there_are_refused(bundle: Bundle) -> None:
    folder = bundle(metadata=channel_def({"0": "background", "5": "liver"}))
    assert refusal(lambda: open_model(folder)).code == "bundle-labels"


def test_a_hundred_labels_have_a_hundred_colours() -> None:
    colours = {distinct_color(number) for number in range(1, 105)}
    assert len(colours) == 104
    assert all(0 <= part <= 1 for colour in colours for part in colour)


# Preprocessing


def test_loading_other_keys_and_devices_are_left_out_and_the_image_is_called_image(bundle: Bundle) -> None:
    folder = bundle(
        with_transforms(
            {"_target_": "LoadImageD", "keys": ["ct", "label"]},
            {"_target_": "EnsureChannelFirstDict", "keys": ["ct", "label"]},
            {"_target_": "Resized", "keys": ["ct", "label"], "spatial_size": [2, 3], "mode": ["bilinear", "nearest"]},
            {"_target_": "CropForegroundd", "keys": ["ct", "label"], "source_key": "ct", "select_fn": "$lambda x: x > 0"},
            {"_target_": "AsDiscreted", "keys": "label", "to_onehot": 2},
            {"_target_": "Compose", "transforms": [{"_target_": "EnsureTyped", "keys": "ct", "device": "@device", "dtype": "$torch.float32"}]},
        )
    )  # fmt: skip
    steps = open_model(folder).preprocessing
    assert [type(step).__name__ for step in steps.transforms] == ["Resized", "CropForegroundd", "EnsureTyped"]
    image = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 2.0, 3.0]])[None]
    prepared = steps({"image": MetaTensor(image)})["image"]
    # Bilinear from 4 to 3 columns takes (c + 0.5) 4/3 - 0.5: columns 1/6, 1.5, 17/6; the row and columns of zeros are cropped away.
    assert torch.allclose(prepared.as_tensor(), torch.tensor([[[1 / 6, 1.5, 17 / 6]]]), atol=1e-6)


@pytest.mark.parametrize(
    ("transform", "reason"),
    [
        ({"_target_": "RandFlipd", "keys": "image"}, "is random"),
        ({"_target_": "monai.transforms.RandFlipd", "keys": "image"}, "is random"),
        ({"_target_": "Lambdad", "keys": "image", "func": 1}, "is not among"),
        ({"_target_": "SaveImaged", "keys": "image", "output_dir": "trap"}, "is not among"),
        ({"_target_": "scripts.mine.Resized", "keys": "image", "spatial_size": [2]}, "code is never run"),
        ({"_target_": "monai.transformsx.Resized", "keys": "image", "spatial_size": [2]}, "code is never run"),
        ({"_target_": "os.system", "keys": "image"}, "code is never run"),
        ({"_target_": "scripts.mine.LoadImaged", "keys": "image"}, "code is never run"),
        ({"_target_": "scripts.mine.Compose", "transforms": []}, "code is never run"),
        ({"_target_": "ScaleIntensity"}, "has no 'keys'"),
        ({"_target_": "CropForegroundd", "keys": "image", "source_key": "label"}, "refers to another image"),
        (
            {"_target_": "CropForegroundd", "keys": "image", "source_key": "image", "select_fn": "$lambda x: x > 9"},
            "need code to run",
        ),
        ({"_target_": "Orientationd", "keys": "image", "axis": "RAS"}, "MONAI .* does not take"),
        ({"_target_": "Resized", "keys": "image"}, "MONAI .* does not take"),
        ("$import os", "need code to run"),
        (17, "something other than transforms"),
    ],
)
def test_preprocessing_that_cannot_be_trusted_or_built_is_refused(
    transform: object, reason: str, bundle: Bundle
) -> None:
    folder = bundle({"preprocessing": {"_target_": "Compose", "transforms": [transform]}})
    with pytest.raises(EngineError, match=reason):
        open_model(folder)
    assert not Path("trap").exists()


def test_several_images_under_names_of_their_own_are_refused(bundle: Bundle) -> None:
    folder = bundle(with_transforms({"_target_": "LoadImaged", "keys": ["t1", "flair", "label"]}))
    error = refusal(lambda: open_model(folder))
    assert error.code == "bundle-several-images"
    assert "2 images of one patient under separate names (t1, flair)" in error.message


@pytest.mark.parametrize("dictionary", [True, False])
def test_slices_are_prepared_one_by_one_where_the_bundle_says_so(dictionary: bool, bundle: Bundle) -> None:
    step = {
        "_target_": "ScaleIntensityd" if dictionary else "ScaleIntensity",
        "minv": 0,
        "maxv": 255,
        **({"keys": "image"} if dictionary else {}),
    }
    folder = bundle({"slice_preprocessing": {"_target_": "Compose", "transforms": [step]}})
    prepare = open_model(folder).slice_preprocessing
    assert prepare is not None
    assert torch.equal(
        torch.as_tensor(prepare(torch.tensor([[[2.0, 4.0], [3.0, 2.0]]]))), torch.tensor([[[0.0, 255.0], [127.5, 0.0]]])
    )


def two_dimensional(bundle: Bundle, *transforms: dict[str, Any]) -> Path:
    definition = {**UNET, "spatial_dims": 2}
    inference = {"network_def": {"_target_": "UNet", **definition}, "inferer": {"_target_": "SimpleInferer"}}
    return bundle({**inference, **with_transforms(*transforms)}, weights=nets.UNet(**definition).state_dict())


def test_preprocessing_of_single_pictures_is_that_of_each_slice(bundle: Bundle) -> None:
    model = open_model(
        two_dimensional(
            bundle, {"_target_": "LoadImaged", "keys": "image"}, {"_target_": "ScaleIntensityd", "keys": "image"}
        )
    )
    assert model.preprocessing.transforms == ()
    assert model.slice_preprocessing is not None
    assert torch.as_tensor(model.slice_preprocessing(torch.tensor([[[5.0, 7.0]]]))).tolist() == [[[0.0, 1.0]]]


def test_preprocessing_of_volumes_stays_one_of_volumes_with_a_2d_network(bundle: Bundle) -> None:
    model = open_model(two_dimensional(bundle, {"_target_": "Orientationd", "keys": "image", "axcodes": "LPS"}))
    assert len(model.preprocessing.transforms) == 1
    assert model.slice_preprocessing is None


RESIZE = {"_target_": "Resized", "keys": "image", "spatial_size": [16, 8]}
SCALE = {"_target_": "ScaleIntensityd", "keys": "image"}


def test_single_pictures_are_resized_in_all_slices_alike_and_scaled_each_by_itself(bundle: Bundle) -> None:
    model = open_model(two_dimensional(bundle, RESIZE, {"_target_": "EnsureTyped", "keys": "image"}, SCALE))
    assert model.slice_axis == 2
    assert model.slice_preprocessing is not None
    volume = MetaTensor(torch.rand(1, 20, 30, 3) + torch.arange(3.0))
    prepared = model.preprocessing({"image": volume})["image"].as_tensor()
    found = torch.stack([torch.as_tensor(model.slice_preprocessing(prepared[..., slice])) for slice in range(3)])
    expected = torch.stack([Compose([Resize([16, 8]), ScaleIntensity()])(volume[..., slice]) for slice in range(3)])
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "steps",
    [
        (SCALE, RESIZE),
        ({**RESIZE, "size_mode": "longest"},),
        ({"_target_": "Resized", "keys": "image", "spatial_size": ["a", 8, 8, 8]},),
        ({"_target_": "Rotate90d", "keys": "image"},),
        ({"_target_": "CropForegroundd", "keys": "image", "source_key": "image"},),
    ],
)
def test_pictures_whose_preprocessing_cannot_be_taken_apart_are_refused(
    steps: tuple[dict[str, Any], ...], bundle: Bundle
) -> None:
    folder = two_dimensional(bundle, *steps)
    assert refusal(lambda: open_model(folder)).code == "bundle-slices"


# Hostile descriptions


@pytest.mark.parametrize(
    "definition",
    [
        {"_target_": "os.system", "command": "touch {trap}"},
        {"_target_": "builtins.open", "file": "{trap}", "mode": "w"},
        {"_target_": "monai.bundle.scripts.download", "name": "x"},
        {"_target_": "monai.networks.nets.torchvision_fc.TorchVisionFCModel", "pretrained": True},
        {"_target_": "monai.networks.netsx.UNet", **UNET},
        {"_target_": "evil.UNet", **UNET},
        {"_target_": "$os.system", **UNET},
        {"_target_": 3},
        {"_target_": "UNet", **UNET, "act": "$open('{trap}', 'w')"},
        {"_target_": "UNet", **UNET, "act": {"_target_": "os.system", "command": "touch {trap}"}},
        {"_target_": "UNet", **UNET, "channels": [2, 4, 10**9]},
        {"_target_": "UNet", **UNET, "channels": [10_000, 10_000, 10_000]},
        {"_target_": "UNet", **UNET, "channels": [1] * 5000, "strides": [2] * 4999},
        {"_target_": "UNet", **UNET, "no_such_argument": 1},
        {"_target_": "UNet"},
        {"_target_": "UNet", **UNET, "spatial_dims": 1},
        {"_target_": "UNet", **UNET, "out_channels": "NaN"},
        "UNet",
    ],
)
def test_hostile_networks_are_refused_and_nothing_runs(definition: object, bundle: Bundle, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    folder = bundle({"network_def": json.loads(json.dumps(definition).replace("{trap}", str(trap)))})
    assert refusal(lambda: open_model(folder)).code in ("bundle-network", "bundle-expression", "weights-mismatch")
    assert not trap.exists()


def test_a_description_that_asks_for_downloaded_weights_gets_none(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nets.FlexibleUNet(1, 2, "resnet10", pretrained=False, spatial_dims=3)
    definition = {
        "_target_": "FlexibleUNet",
        "in_channels": 1,
        "out_channels": 2,
        "backbone": "resnet10",
        "pretrained": True,
        "spatial_dims": 3,
    }
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = open_model(bundle({"network_def": definition}, channel_def({}), network.state_dict()))
    assert all(torch.equal(model.network.state_dict()[name], tensor) for name, tensor in network.state_dict().items())


WEIRD: tuple[Any, ...] = (
    None,
    True,
    -1,
    99,
    10**30,
    1.5,
    "",
    "$1+",
    "$@network_def",
    "@inferer",
    [],
    {},
    [{}],
    ["a"],
    {"_target_": "UNet"},
    "\ud800",
)


BENT = {
    **INFERENCE,
    "inferer": {
        "_target_": "SliceInferer",
        "roi_size": [8, 8, 8],
        "spatial_dim": 2,
        "overlap": [0.5, 0.5, 0.5],
        "mode": "gaussian",
    },
    **with_postprocessing(
        {"_target_": "AsDiscreted", "keys": ["pred", "label"], "argmax": [True, False]},
        {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1, 2]},
    ),
}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(list(places(BENT))), value=st.sampled_from(WEIRD))
@example(place=("network_def", "strides", 0), value=1.5)
@example(place=("inferer", "overlap"), value=[])
@example(place=("inferer", "overlap", 0), value={})
@example(place=("postprocessing", "transforms", 1, "applied_labels"), value=[{}])
def test_a_description_bent_anywhere_opens_or_is_refused(place: tuple[Any, ...], value: object, bundle: Bundle) -> None:
    folder = bundle(changed_at(BENT, place, value))
    with done_or_refused():
        open_model(folder)


# Weights


@pytest.mark.parametrize("key", ["model", "state_dict", "network_weights", "net", None])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_weights_are_found_where_trainers_put_them(key: str | None, prefix: str, bundle: Bundle) -> None:
    network = nets.UNet(**UNET)
    weights = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    model = open_model(bundle(weights=weights if key is None else {"epoch": 3, key: weights}))
    assert all(torch.equal(model.network.state_dict()[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_float32(dtype: torch.dtype, bundle: Bundle) -> None:
    weights = nets.UNet(**UNET).to(dtype).state_dict()
    model = open_model(bundle(weights=weights))
    assert all(parameter.dtype is torch.float32 for parameter in model.network.parameters())
    assert all(torch.equal(model.network.state_dict()[name], tensor.float()) for name, tensor in weights.items())


def test_safetensors_open_as_their_pickled_twins(bundle: Bundle) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    folder = bundle()
    weights = read_weights(folder / "models/model.pt")
    (folder / "models/model.pt").unlink()
    safetensors.save_file(weights, folder / "models/model.safetensors")
    opened = open_model(folder).network.state_dict()
    assert all(torch.equal(opened[name], tensor) for name, tensor in weights.items())


def test_the_configuration_names_the_weights_among_several(bundle: Bundle) -> None:
    folder = bundle(
        {"bundle_root": ".", "checkpointloader": {"load_path": "$@bundle_root + '/models/model_lowres.pt'"}}
    )
    low = nets.UNet(**UNET).state_dict()
    torch.save(low, folder / "models/model_lowres.pt")
    opened = open_model(folder).network.state_dict()
    assert all(torch.equal(opened[name], tensor) for name, tensor in low.items())


def test_the_only_weights_are_taken_whatever_their_name(bundle: Bundle) -> None:
    folder = bundle()
    (folder / "models/model.pt").rename(folder / "models/best_checkpoint.pth")
    assert open_model(folder).name == "Two organs"


def test_two_weights_files_with_other_names_are_refused(bundle: Bundle) -> None:
    folder = bundle()
    shutil.copy(folder / "models/model.pt", folder / "models/a.pt")
    (folder / "models/model.pt").rename(folder / "models/b.pt")
    error = refusal(lambda: open_model(folder))
    assert error.code == "bundle-incomplete"
    assert "a.pt, b.pt" in error.message


def test_missing_unexpected_and_misshapen_weights_are_counted_and_named(bundle: Bundle) -> None:
    weights = dict(nets.UNet(**UNET).state_dict())
    names = list(weights)
    del weights[names[0]]
    weights.update({f"head.{n}": torch.zeros(1) for n in range(5)})
    weights[names[1]] = torch.zeros(7, 5)
    folder = bundle(weights=weights)
    error = refusal(lambda: open_model(folder))
    assert error.code == "weights-mismatch"
    assert f"1 weight(s) are missing ({names[0]})" in error.message
    assert "5 weight(s) do not belong to it (head.0, head.1, head.2, ...)" in error.message
    assert f"'{names[1]}' is 7×5 there and 2 in the network" in error.message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float, bundle: Bundle) -> None:
    weights = nets.UNet(**UNET).state_dict()
    name = list(weights)[3]
    weights[name].view(-1)[0] = value
    folder = bundle(weights=weights)
    error = refusal(lambda: open_model(folder))
    assert error.code == "weights-not-finite"
    assert f"'{name}'" in error.message


def test_the_trap_works() -> None:
    """Without it, the next tests would prove nothing."""
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickle.dumps(Trap(Path("/nowhere/at/all/trap"))))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_nothing_runs(zipped: bool, bundle: Bundle, tmp_path: Path) -> None:
    folder = bundle()
    torch.save({"model": Trap(tmp_path / "trap")}, folder / "models/model.pt", _use_new_zipfile_serialization=zipped)
    error = refusal(lambda: open_model(folder))
    assert error.code == "weights-code"
    assert f"would run '{open.__module__}.open'" in error.message
    assert "Nothing was run" in error.message
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_is_refused_by_what_it_would_run(protocol: int, bundle: Bundle, tmp_path: Path) -> None:
    folder = bundle()
    (folder / "models/model.pt").write_bytes(pickle.dumps({"model": Trap(tmp_path / "trap")}, protocol))
    error = refusal(lambda: open_model(folder))
    assert error.code == "weights-code"
    assert ".open'" in error.message
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("shutil", "rmtree"),
        ("subprocess", "Popen"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("runpy", "run_path"),
    ],
)
def test_what_a_checkpoint_would_run_is_named(module: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X\x01\x00\x00\x00x\x85R.")
    error = refusal(lambda: read_weights(tmp_path / "w.pt"))
    assert error.code == "weights-code"
    assert f"would run '{module}.{name}'" in error.message


@pytest.mark.parametrize(("key", "whole"), [("model", True), ("state_dict", False), (None, True)])
def test_the_command_for_the_sender_makes_a_file_that_opens(key: str | None, whole: bool, bundle: Bundle) -> None:
    network = nets.UNet(**UNET)
    weights = network if whole else dict(network.state_dict())
    folder = bundle(weights=weights if key is None else {key: weights, "scaler": nets.UNet(**UNET)})
    error = refusal(lambda: open_model(folder))
    command = error.message.partition("`python ")[2].partition("`")[0]
    subprocess.run(f"{sys.executable} {command}", shell=True, check=True, cwd=folder / "models")
    (folder / "models/weights.pt").replace(folder / "models/model.pt")
    opened = open_model(folder).network.state_dict()
    assert all(torch.equal(opened[name], tensor) for name, tensor in network.state_dict().items())


def test_a_whole_pickled_network_is_refused_by_the_name_of_its_class(bundle: Bundle) -> None:
    folder = bundle(weights=nets.UNet(**UNET))
    assert "monai.networks.nets.unet.UNet" in refusal(lambda: open_model(folder)).message


@pytest.mark.parametrize(
    "content",
    [
        {"epoch": 3},
        [1, 2],
        {},
        {"model": {}},
        {"w": torch.ones(3).to_sparse()},
        {"w": torch.ones(3, dtype=torch.complex64)},
        {"w": torch.empty(3, device="meta")},
    ],
)
def test_files_without_plain_weights_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    assert refusal(lambda: read_weights(tmp_path / "w.pt")).code == "weights-unknown"


@pytest.mark.parametrize(
    "content", [{"w": torch.ones(1).expand(10**13)}, {f"w{n}": torch.ones(1).expand(1000) for n in range(99)}]
)
def test_weights_that_unpack_to_more_than_the_file_holds_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    assert refusal(lambda: read_weights(tmp_path / "w.pt")).code == "weights-large"


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(50_000_000))
    assert refusal(lambda: read_weights(tmp_path / "w.pt")).code == "weights-large"


def test_a_storage_that_claims_more_numbers_than_it_has_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(8)}, tmp_path / "honest.pt")
    with zipfile.ZipFile(tmp_path / "honest.pt") as honest, zipfile.ZipFile(tmp_path / "forged.pt", "w") as forged:
        for entry in honest.infolist():
            content = honest.read(entry)
            # BININT1 8, the storage's length, becomes BININT 1000000.
            changed = (
                content.replace(b"K\x08tq", b"J\x40\x42\x0f\x00tq", 1)
                if entry.filename.endswith("data.pkl")
                else content
            )
            forged.writestr(entry.filename, changed)
    assert torch.equal(read_weights(tmp_path / "honest.pt")["w"], torch.ones(8))
    assert refusal(lambda: read_weights(tmp_path / "forged.pt")).code == "weights-damaged"


BENT_WEIGHTS = io.BytesIO()
torch.save(nets.UNet(**UNET).state_dict(), BENT_WEIGHTS)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), change=st.binary(min_size=1, max_size=8), in_pickle=st.booleans())
def test_a_checkpoint_bent_anywhere_opens_or_is_refused(
    place: float, change: bytes, in_pickle: bool, tmp_path: Path
) -> None:
    """Half of the changes are in the pickle, which is a small part of the file; its checksum is left wrong, as damage leaves it."""
    content = bytearray(BENT_WEIGHTS.getvalue())
    length = content.find(b"data/0") if in_pickle else len(content)
    content[int(place * length) : int(place * length) + len(change)] = change
    (tmp_path / "w.pt").write_bytes(content)
    with done_or_refused():
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("kept", [3, 100, 0.5, 0.999])
def test_truncated_weights_are_refused(kept: float, bundle: Bundle) -> None:
    file = bundle() / "models/model.pt"
    content = file.read_bytes()
    file.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    assert refusal(lambda: read_weights(file)).code == "weights-damaged"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "weights-empty"),
        (b"some text", "weights-damaged"),
        (b"version https://git-lfs.github.com/spec/v1\n", "weights-lfs"),
    ],
)
def test_files_that_are_no_checkpoint_are_refused(content: bytes, code: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    assert refusal(lambda: read_weights(tmp_path / "w.pt")).code == code


# Archives


@pytest.mark.parametrize("top", ["", "two-organs/"])
def test_a_zipped_bundle_opens_as_its_folder(top: str, bundle: Bundle, tmp_path: Path) -> None:
    folder = bundle()
    expected = open_model(folder)
    model = open_model(zipped(folder, tmp_path / "Zwei Organe.zip", top))
    assert (model.labels, model.window, model.sha256, model.name) == (
        expected.labels, expected.window, expected.sha256, "Two organs",
    )  # fmt: skip
    assert all(
        torch.equal(model.network.state_dict()[name], tensor) for name, tensor in expected.network.state_dict().items()
    )
    assert model.source == str(tmp_path / "Zwei Organe.zip")


def test_a_zipped_bundle_without_a_name_is_called_as_the_archive(bundle: Bundle, tmp_path: Path) -> None:
    assert open_model(zipped(bundle(metadata={"name": ""}), tmp_path / "organs.zip")).name == "organs"


@pytest.mark.parametrize("name", ["configs/inference.json", "configs/metadata.json", "models/model.pt"])
def test_a_zipped_bundle_is_refused_by_names_inside_the_archive(name: str, bundle: Bundle, tmp_path: Path) -> None:
    folder = bundle()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    archive = zipped(folder, tmp_path / "a.zip")
    error = refusal(lambda: open_model(archive))
    assert f"'{archive}/{name}' is a Git LFS pointer" in error.message


def test_a_broken_archive_is_refused_as_such(bundle: Bundle, tmp_path: Path) -> None:
    archive = zipped(bundle(), tmp_path / "a.zip")
    archive.write_bytes(archive.read_bytes()[:1000])
    assert refusal(lambda: open_model(archive)).code == "archive-damaged"


def test_an_archive_of_something_else_is_refused_with_what_could_be_opened(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/letter.txt").write_text("Dear colleague")
    error = refusal(lambda: open_model(zipped(tmp_path / "letters", tmp_path / "a.zip")))
    assert error.code == "model-unknown"
    assert "MONAI bundle" in error.message


def zipped(folder: Path, archive: Path, top: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                packed.write(file, top + file.relative_to(folder).as_posix())
    return archive


# Paths


@pytest.mark.parametrize("path", ["/../../outside.pt", "/..\\..\\outside.pt", "/models/../../../outside.pt"])
def test_a_description_cannot_reach_for_weights_elsewhere(path: str, bundle: Bundle, tmp_path: Path) -> None:
    folder = bundle({"bundle_root": ".", "checkpointloader": {"load_path": f"$@bundle_root + {path!r}"}})
    (folder / "models/model.pt").replace(tmp_path / "outside.pt")
    error = refusal(lambda: open_model(folder))
    assert error.code == "bundle-incomplete"
    assert "outside.pt" in error.message


def test_an_absent_path_is_refused_by_name() -> None:
    assert "'/nowhere/model'" in refusal(lambda: open_model("/nowhere/model")).message


def test_another_folder_is_refused_with_what_could_be_opened(tmp_path: Path) -> None:
    error = refusal(lambda: open_model(tmp_path))
    assert error.code == "model-unknown"
    assert "MONAI bundle" in error.message


@pytest.mark.parametrize("name", ["configs/inference.json", "configs/metadata.json", "models/model.pt"])
def test_an_incomplete_bundle_is_refused_by_what_it_lacks(name: str, bundle: Bundle) -> None:
    folder = bundle()
    (folder / name).unlink()
    assert name.rpartition("/")[2] in refusal(lambda: open_model(folder)).message


# Real bundles, networks and files


def real_bundle(description: Path, folder: Path, weights: Path) -> Path:
    """A bundle folder of a description and real weights."""
    (folder / "models").mkdir(parents=True)
    (folder / "configs").mkdir()
    for file in (description / "configs").iterdir():
        (folder / "configs" / file.name).write_bytes(file.read_bytes())
    shutil.copy(weights, folder / "models/model.pt")
    return folder


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "weights", "label", "channel", "activation", "largest"),
    [
        ("kits19-unet2d", "basicunet2d_kits19_kidney.pt", "kidney", 0, "sigmoid", False),
        ("spleen-unet3d", "spleen_unet3d_state_dict.pt", "spleen", 1, "softmax", True),
    ],
)
def test_real_networks_open(
    name: str, weights: str, label: str, channel: int, activation: str, largest: bool, test_data: Path, tmp_path: Path
) -> None:
    model = open_model(real_bundle(OURS / name, tmp_path / "bundle", test_data / name / weights))
    assert [(found.name, found.value, found.channel) for found in model.labels] == [(label, 1, channel)]
    assert model.labels[0].terminology is not None
    assert (model.activation, model.largest_component) == (activation, largest)
    assert (model.window.size, model.window.multiple) == (None, 16)
    assert model.licence == "Apache-2.0"
    assert torch.isfinite(model.network(torch.zeros(1, 1, *[32] * model.spatial_dims))).all()


@pytest.mark.real_data
def test_a_torchscript_archive_is_refused_and_the_right_file_named(test_data: Path) -> None:
    error = refusal(lambda: read_weights(test_data / "spleen-unet3d/spleen_unet3d_torchscript.pt"))
    assert error.code == "weights-torchscript"
    assert "model.pt" in error.message


@pytest.mark.real_data
def test_a_git_lfs_pointer_is_refused_with_the_command_that_mends_it(test_data: Path) -> None:
    error = refusal(lambda: read_weights(test_data / "awkward/broken/git_lfs_pointer_spleen_unet_model.pt"))
    assert error.code == "weights-lfs"
    assert "is a Git LFS pointer of 133 bytes" in error.message
    assert "git lfs pull" in error.message
