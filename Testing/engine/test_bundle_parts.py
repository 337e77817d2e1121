"""Preprocessing, inferer and postprocessing are found where a bundle's inference says, and are never taken for "nothing to do"."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import refusal
from tiny_bundle import unet_weights, write_bundle

from SegHiResCAMLib.engine.models import SegmentationModel, open_model

UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}
TRANSFORMS = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -200, "a_max": 200, "b_min": 0, "b_max": 1, "clip": True},
]  # fmt: skip
COMPOSE = {"_target_": "Compose", "transforms": TRANSFORMS}
OTHER = {"_target_": "Compose", "transforms": TRANSFORMS[:2]}
INFERER = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.5}
DECIDES = {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]}
METADATA = {"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "liver", "1": "spleen"}}}}}
LOADER = {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1}

Opened = Callable[..., SegmentationModel]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def write(**parts: Any) -> SegmentationModel:
        config = {"network_def": {"_target_": "UNet", **UNET}, **parts}
        return open_model(write_bundle(tmp_path / "bundle", config, METADATA, unet_weights(UNET)))

    return write


@pytest.mark.parametrize(
    "parts",
    [
        {"preprocessing": COMPOSE},
        {"dataset": {"_target_": "Dataset", "data": [], "transform": COMPOSE}},
        {"dataset": {"_target_": "monai.data.CacheDataset", "data": "$glob('*')", "transform": "@val_steps"}, "val_steps": COMPOSE},
        {"dataset": {"_target_": "Dataset", "data": [], "transform": TRANSFORMS}},
        {"infer_transforms": COMPOSE},
        {"validate": {"preprocessing": COMPOSE, "dataset": {"_target_": "Dataset", "transform": "@validate::preprocessing"}}},
        {
            "dataset": {"_target_": "Dataset", "data": [], "transform": "@for_inference"}, "for_inference": COMPOSE,
            "train_set": {"_target_": "Dataset", "data": [], "transform": OTHER}, "loader": LOADER,
            "evaluator": {"_target_": "SupervisedEvaluator", "val_data_loader": "@loader"},
        },
        {"evaluator": {
            "_target_": "SupervisedEvaluator",
            "val_data_loader": {"_target_": "DataLoader", "dataset": {"_target_": "Dataset", "transform": COMPOSE}},
        }},
    ],
    ids=["by name", "data set", "reference", "list", "other name", "validate", "evaluator", "inline"],
)  # fmt: skip
def test_preprocessing_is_followed_to_where_the_bundles_inference_has_it(parts: dict[str, Any], opened: Opened) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*does not say")
        steps = opened(**parts).preprocessing.transforms
    assert [type(step).__name__ for step in steps] == ["Orientationd", "ScaleIntensityRanged"]


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"dataset": {"_target_": "Dataset", "data": [], "transform": "$my.transforms()"}}, "bundle-expression"),
        ({"dataset": {"_target_": "Dataset", "data": [], "transform": {"_target_": "scripts.Prepare"}}}, "bundle-transform"),
        ({"one": COMPOSE, "other": OTHER}, "bundle-ambiguous"),
        ({"a": {"_target_": "Dataset", "transform": COMPOSE}, "b": {"_target_": "Dataset", "transform": OTHER}}, "bundle-ambiguous"),
    ],
)  # fmt: skip
def test_preprocessing_that_cannot_be_known_is_refused(parts: dict[str, Any], code: str, opened: Opened) -> None:
    assert refusal(lambda: opened(**parts)).code == code


def test_a_bundle_that_says_nothing_of_preprocessing_opens_with_a_note(opened: Opened) -> None:
    model = opened(inferer=INFERER)
    assert model.preprocessing.transforms == ()
    assert "does not say how volumes are prepared" in model.notes[-1]


@pytest.mark.parametrize(
    "parts",
    [
        {"inferer": INFERER, "postprocessing": DECIDES},
        {"window": INFERER, "post_transforms": DECIDES},
        {"evaluator": {"_target_": "SupervisedEvaluator", "inferer": INFERER, "postprocessing": DECIDES}},
        {
            "evaluator": {"_target_": "monai.engines.SupervisedEvaluator", "inferer": "@a", "postprocessing": "@c"}, "a": INFERER,
            "b": {"_target_": "SimpleInferer"}, "c": DECIDES, "d": {**DECIDES, "transforms": []},
        },
    ],
    ids=["by name", "other names", "inline", "evaluator"],
)  # fmt: skip
def test_inferer_and_postprocessing_are_followed_too(parts: dict[str, Any], opened: Opened) -> None:
    model = opened(preprocessing=COMPOSE, **parts)
    assert (model.window.size, model.window.overlap, model.activation) == ((16, 16, 16), 0.5, "sigmoid")


def test_inferers_of_which_none_is_meant_are_refused(opened: Opened) -> None:
    parts = {"one": INFERER, "other": {"_target_": "SimpleInferer"}}
    assert refusal(lambda: opened(preprocessing=COMPOSE, **parts)).code == "bundle-ambiguous"


@pytest.mark.parametrize(
    ("expression", "code", "said"),
    [
        ("$monai.networks.nets.UNet(spatial_dims=3, in_channels=1, out_channels=2)", "bundle-expression", "'_target_'"),
        ("$monai.networks.nets.ViT(in_channels=1)", "bundle-network", "not a segmentation network"),
        ("$scripts.network.Mine()", "bundle-network", "code that comes with the model"),
    ],
)
def test_a_network_that_is_written_as_an_expression_is_refused_for_its_first_reason(
    expression: str, code: str, said: str, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "model", {"network_def": expression}, METADATA, unet_weights(UNET))
    error = refusal(lambda: open_model(str(tmp_path / "model")))
    assert (error.code, said in error.message) == (code, True)
