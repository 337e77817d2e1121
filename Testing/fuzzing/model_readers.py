"""The readers of model files: each takes a folder, the bytes to read, and does all that opening such a file does."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.networks import nets
from refusals import done_or_refused

from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.models.catalogue.catalogue import entries
from SegHiResCAMLib.engine.models.describe import describe_checkpoint
from SegHiResCAMLib.engine.models.nnunet.nnunet import open_nnunet
from SegHiResCAMLib.engine.models.untrusted.checkpoint import read_weights
from SegHiResCAMLib.engine.models.untrusted.config_file import read_config
from SegHiResCAMLib.engine.models.untrusted.resolver import Config
from SegHiResCAMLib.engine.models.untrusted.script import read_script
from SegHiResCAMLib.resources import resource

torch.set_num_threads(1)

UNET: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [2, 4], "strides": [2]}
PLAIN = {
    "network": {"class": "UNet", "arguments": UNET},
    "labels": [{"name": "kidney", "value": 1, "channel": 1, "color": [1, 2, 3], "snomed": "64033007"}],
    "orientation": "RAS",
    "spacing": [1, 1, None],
    "intensity": [{"step": "scale", "range": [0, 1], "to": [0, 1], "clip": True}, {"step": "z-score", "nonzero": True}],
    "window": {"size": [8, 8, 8], "overlap": 0.5},
}
CONFIG = {
    "a": {"b": [1, "@c", "%d", "$@c + 1", "$len('x')"]},
    "c": 2,
    "d": "@a::b::0",
    "e": {"_target_": "UNet", "x": "@e", "_disabled_": "$@c > 1"},
}
BUNDLE = {
    "network_def": {"_target_": "UNet", **UNET},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
            {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.5},
    "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "AsDiscreted", "argmax": True}]},
}
METADATA = {
    "name": "x",
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "kidney"}}}},
}
NNUNET_PLANS = {
    "dataset_name": "Dataset001_X",
    "plans_name": "nnUNetPlans",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 1.0, "std": 2.0, "percentile_00_5": -1.0, "percentile_99_5": 5.0, "min": -3.0, "max": 9.0, "median": 1.0}
    },
    "configurations": {
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "preprocessor_name": "DefaultPreprocessor",
            "patch_size": [16, 16, 16],
            "spacing": [1.0, 1.0, 1.0],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "batch_dice": True,
            "batch_size": 2,
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": 2,
                    "features_per_stage": [2, 4],
                    "conv_op": "torch.nn.modules.conv.Conv3d",
                    "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                    "strides": [[1, 1, 1], [2, 2, 2]],
                    "n_conv_per_stage": [1, 1],
                    "n_conv_per_stage_decoder": [1],
                    "conv_bias": True,
                    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        }
    },
}  # fmt: skip
NNUNET_DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "kidney": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def config(folder: Path, data: bytes) -> None:
    for name in ("fuzz.json", "fuzz.yaml"):
        (folder / name).write_bytes(data)
        with done_or_refused():
            read_config(folder / name)


def resolver(folder: Path, data: bytes) -> None:
    (folder / "fuzz.json").write_bytes(data)
    with done_or_refused():
        content = read_config(folder / "fuzz.json")
        resolved = Config(content, "fuzz.json")
        for key in content:
            with done_or_refused():
                resolved.need(resolved.resolve(key))
            with done_or_refused():
                resolved.steps(key)


def checkpoint(folder: Path, data: bytes) -> None:
    (folder / "fuzz.pt").write_bytes(data)
    with done_or_refused():
        read_weights(folder / "fuzz.pt")
    with done_or_refused():
        describe_checkpoint(folder / "fuzz.pt")


def safetensors(folder: Path, data: bytes) -> None:
    (folder / "fuzz.safetensors").write_bytes(data)
    with done_or_refused():
        read_weights(folder / "fuzz.safetensors")
    with done_or_refused():
        describe_checkpoint(folder / "fuzz.safetensors")


def script(folder: Path, data: bytes) -> None:
    (folder / "fuzz.ts").write_bytes(data)
    with done_or_refused():
        read_script(folder / "fuzz.ts")


def bundle(folder: Path, data: bytes) -> None:
    """`data` is its configuration."""
    place = folder / "bundle"
    if not place.exists():
        (place / "configs").mkdir(parents=True)
        (place / "models").mkdir()
        (place / "models/model.pt").write_bytes(torch_file())
        (place / "configs/metadata.json").write_bytes(json_of(METADATA))
    (place / "configs/inference.json").write_bytes(data)
    with done_or_refused():
        open_model(place)


def description(folder: Path, data: bytes) -> None:
    """`data` is the description beside a plain checkpoint."""
    weights = folder / "plain.pt"
    if not weights.exists():
        torch.save(nets.UNet(**UNET).state_dict(), weights)
    (folder / "plain.json").write_bytes(data)
    with done_or_refused():
        open_model(weights)


def catalogue(folder: Path, data: bytes) -> None:
    import os

    (folder / "catalogue.json").write_bytes(data)
    os.environ["SEGHIRESCAM_CATALOGUE"] = str(folder / "catalogue.json")
    with done_or_refused():
        entries()


def model_file(folder: Path, data: bytes) -> None:
    for name in ("fuzz.zip", "fuzz.pth"):
        (folder / name).write_bytes(data)
        with done_or_refused():
            open_model(folder / name)


def nnunet_plans(folder: Path, data: bytes) -> None:
    _nnunet(folder / "plans", plans=data)


def nnunet_dataset(folder: Path, data: bytes) -> None:
    _nnunet(folder / "dataset", dataset=data)


def _nnunet(place: Path, plans: bytes | None = None, dataset: bytes | None = None) -> None:
    if not place.exists():
        (place / "fold_0").mkdir(parents=True)
        content = {"network_weights": {"x": torch.zeros(1)}, "init_args": {"configuration": "3d_fullres"}}
        torch.save(content, place / "fold_0/checkpoint_final.pth")
    (place / "plans.json").write_bytes(plans or json_of(NNUNET_PLANS))
    (place / "dataset.json").write_bytes(dataset or json_of(NNUNET_DATASET))
    with done_or_refused():
        open_nnunet(str(place))


# Samples that are sound, to be changed from.


def json_of(value: object) -> bytes:
    return json.dumps(value).encode()


def torch_file(**options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(nets.UNet(**UNET).state_dict(), file, **options)
    return file.getvalue()


def safetensors_file() -> bytes:
    from safetensors.torch import save

    return save(nets.UNet(**UNET).state_dict())


def script_files() -> list[bytes]:
    network = nets.UNet(**UNET).eval()
    files = [io.BytesIO(), io.BytesIO()]
    torch.jit.save(torch.jit.script(network), files[0])
    torch.jit.save(torch.jit.trace(network, torch.zeros(1, 1, 8, 8, 8)), files[1])
    return [file.getvalue() for file in files]


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("bundle/configs/inference.json", json_of(BUNDLE))
        archive.writestr("bundle/configs/metadata.json", json_of(METADATA))
        archive.writestr("bundle/models/model.pt", torch_file())
    return file.getvalue()


YAML = b"""a: &x [1, 2]
b: *x
c: !!timestamp 2020-01-01
? [d]
: 1
network_def: {_target_: UNet, spatial_dims: 3}
text: |
  lines
  more
folded: >-
  "quoted" 'single'
"""

READERS: dict[str, tuple[Callable[[Path, bytes], None], Callable[[], list[bytes]]]] = {
    "configuration": (config, lambda: [json_of(CONFIG), json_of(BUNDLE), YAML]),
    "resolver": (resolver, lambda: [json_of(CONFIG), json_of(BUNDLE)]),
    "checkpoint": (checkpoint, lambda: [torch_file(), torch_file(_use_new_zipfile_serialization=False)]),
    "safetensors": (safetensors, lambda: [safetensors_file()]),
    "TorchScript": (script, script_files),
    "bundle": (bundle, lambda: [json_of(BUNDLE)]),
    "description": (description, lambda: [json_of(PLAIN)]),
    "catalogue": (catalogue, lambda: [resource("Models", "catalogue.json").read_bytes()]),
    "nnU-Net plans": (nnunet_plans, lambda: [json_of(NNUNET_PLANS)]),
    "nnU-Net dataset": (nnunet_dataset, lambda: [json_of(NNUNET_DATASET)]),
    "model file": (model_file, lambda: [zip_file(), torch_file()]),
}
