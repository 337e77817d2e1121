"""nnU-Net itself: what tests compare with, and what writes the results folders that they open."""

from __future__ import annotations

import copy
import importlib.abc
import importlib.machinery
import json
import os
import shutil
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

# What nnU-Net imports for compressed data sets, tables and plots, and does not need to predict.
_UNNEEDED = frozenset({"blosc2", "cc3d", "imageio", "pandas", "requests", "seaborn", "tifffile"})

LABELS = {"background": 0, "kidney": 1, "tumor": 2}


@contextmanager
def nnunet(folder: Path) -> Iterator[None]:
    """While open, nnU-Net can be imported and works in `folder`; names of `_UNNEEDED` stand empty where they are not installed."""
    settings = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    settings["nnUNet_compile"] = "false"
    stand_in = _StandIn()
    sys.meta_path.append(stand_in)
    os.environ.update(settings)
    try:
        yield
    finally:
        sys.meta_path.remove(stand_in)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Empty)]:
            del sys.modules[name]
        for name in settings:
            del os.environ[name]


def sample_plans(dims: int, *, residual: bool = False, **changes: Any) -> dict[str, Any]:
    """Plans as nnU-Net writes them, for a network of a few hundred weights; `changes` are those of the configuration."""
    stages = 3
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet."
        + ("ResidualEncoderUNet" if residual else "PlainConvUNet"),
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": [4, 6, 8],
            "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
            "kernel_sizes": [[1] * (dims - 2) + [3, 3], [3] * dims, [3] * dims],
            "strides": [[1] * dims, [1] * (dims - 2) + [2, 2], [2] * dims],
            "n_blocks_per_stage" if residual else "n_conv_per_stage": [1, 3, 2] if residual else [2, 1, 2],
            "n_conv_per_stage_decoder": [1, 2],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    spline = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    name = "2d" if dims == 2 else "3d_fullres"
    configuration = {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16] * dims,
        "median_image_size_in_voxels": [30.0] * dims,
        "spacing": [2.0] * dims,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": spline,
        "resampling_fn_seg_kwargs": {**spline, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**spline, "order": 1},
        "architecture": architecture,
        "batch_dice": False,
        **changes,
    }
    intensities = {
        "mean": 60.0,
        "std": 80.0,
        "percentile_00_5": -120.0,
        "percentile_99_5": 240.0,
        "min": -900.0,
        "max": 2000.0,
    }
    return {
        "dataset_name": "Dataset042_Sample",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [2.0, 2.0, 2.0],
        "original_median_shape_after_transp": [30, 30, 30],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {name: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): intensities for channel in range(4)},
    }


def sample_dataset(**changes: Any) -> dict[str, Any]:
    """A dataset.json."""
    return {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "description": "A sample.",
        "licence": "CC0",
        **changes,
    }


def train(folder: Path, plans: dict[str, Any], dataset: dict[str, Any], *, folds: int = 1) -> Path:
    """The results folder that nnU-Net's own trainer leaves, inside `nnunet(folder)`: random weights, one optimiser step, scores logged.

    The last configuration is trained.
    """
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    configuration = list(plans["configurations"])[-1]
    data = folder / "preprocessed" / plans["dataset_name"] / plans["configurations"][configuration]["data_identifier"]
    data.mkdir(parents=True, exist_ok=True)
    (data / "case.b2nd").touch()  # the trainer wants to see which kind of data set there is
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for fold in range(folds):
            arguments = {**copy.deepcopy(plans), "continue_training": False}
            trainer = nnUNetTrainer(arguments, configuration, fold, copy.deepcopy(dataset), torch.device("cpu"))
            trainer.initialize()
            for parameter in trainer.network.parameters():
                parameter.data += 0.2 * torch.randn_like(parameter)
                parameter.grad = 0.01 * torch.randn_like(parameter)
            trainer.optimizer.step()
            _balance(
                trainer.network,
                plans["configurations"][configuration]["patch_size"],
                len(trainer.dataset_json["channel_names"]),
            )
            trainer.logger.log("mean_fg_dice", np.float64(0.5), 0)
            trainer.logger.log("dice_per_class_or_region", [np.float64(0.4), np.float32(0.6)], 0)
            trainer._best_ema = np.float64(0.5)
            trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    results = Path(trainer.output_folder_base)
    write_descriptions(results, plans, dataset)
    for log in results.glob("fold_*/training_log_*"):
        log.unlink()
    return results


def _balance(network: torch.nn.Module, size: list[int], channels: int) -> None:
    """Shift the logits so that each class is found somewhere in noise."""
    with torch.no_grad():
        logits = network.eval()(torch.randn(4, channels, *size))[0]
        network.decoder.seg_layers[-1].bias -= logits.mean(dim=(0, *range(2, logits.ndim)))


def write_descriptions(results: Path, plans: dict[str, Any], dataset: dict[str, Any]) -> None:
    """plans.json and dataset.json beside the folds."""
    (results / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (results / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")


def predictor(results: Path, folds: tuple[int, ...] = (0,)) -> Any:
    """nnU-Net's own predictor, without mirroring."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    one = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    one.initialize_from_trained_model_folder(str(results), folds)
    return one


def preprocessed(one: Any, files: list[Path]) -> tuple[np.ndarray, dict[str, Any]]:
    """What nnU-Net's own reader and preprocessor make of the images of a patient: (C, x, y, z) and its properties."""
    preprocessor = one.configuration_manager.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(
        [str(file) for file in files], None, one.plans_manager, one.configuration_manager, one.dataset_json
    )
    return np.asarray(data), properties


def copied(results: Path, folder: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(results, folder / results.name))


class _Anything(type):
    """A class with every attribute there could be: another such class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Empty(types.ModuleType):
    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands last in line: what is installed is found before."""

    def find_spec(self, fullname: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in _UNNEEDED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""
