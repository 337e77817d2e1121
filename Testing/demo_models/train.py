"""Trains the two demonstration networks on made-up patients, measures them, and writes weights and Dice into their bundles.

    python Testing/demo_models/train.py 2d
    python Testing/demo_models/train.py 3d

The bundles' own `configs/inference.json` says what is trained: network, preprocessing and inferer are read from there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.losses import DiceCELoss
from monai.metrics import compute_dice
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, SpatialResample

sys.path.insert(0, str(Path(__file__).parents[1]))

from phantom import CYST, KIDNEY, TUMOUR, Phantom, phantom

MODELS = Path(__file__).parents[2] / "SegHiResCAM" / "Resources" / "Models"
CACHE = Path(tempfile.gettempdir()) / "seghirescam-phantoms"
CLASSES = {"kidney": KIDNEY, "tumour": TUMOUR, "cyst": CYST}
TRAINING_SEEDS = range(1000, 1080)
TEST_SEEDS = range(5000, 5020)
CROPS_PER_CLASS = [4, 2, 4, 4]  # background, kidney, tumour, cyst: small structures are seen as often as large ones
SETTINGS: dict[str, dict[str, Any]] = {
    "2d": {"bundle": "kidney-phantom-2d", "batch": 8, "steps": 1800, "rate": 4e-3},
    "3d": {"bundle": "kidney-phantom-3d", "batch": 2, "steps": 1800, "rate": 3e-3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=SETTINGS)
    parser.add_argument("--cache", type=Path, default=CACHE, help="where phantoms are kept")
    parser.add_argument("--steps", type=int, help="optimiser steps, instead of those that made the shipped weights")
    arguments = parser.parse_args()
    settings = SETTINGS[arguments.network] | ({"steps": arguments.steps} if arguments.steps else {})
    torch.set_num_threads(1)
    torch.manual_seed(0)

    bundle = MODELS / settings["bundle"]
    config = ConfigParser()
    config.read_config(bundle / "configs" / "inference.json")
    network = config.get_parsed_content("network_def")
    preprocessing = after_loading(config.get_parsed_content("preprocessing"))
    # Crops are as large as the inferer's windows: instance normalisation sees the same in both.
    settings["crop"] = tuple(config["inferer"]["roi_size"])
    train(network, preprocessing, cached(TRAINING_SEEDS, arguments.cache), settings)
    write_weights(network, bundle)
    read_weights(network, bundle)
    test = list(cached(TEST_SEEDS, arguments.cache))
    write_metrics(evaluate(network, preprocessing, config.get_parsed_content("inferer"), test), bundle)


def cached(seeds: range, folder: Path) -> Iterator[Phantom]:
    """The seeds' phantoms, each made once and then kept in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        files = list(pool.map(partial(_keep, folder=folder), seeds))
    for file in files:
        stored = np.load(file)
        volume = MetaTensor(stored["volume"].astype(np.float32), affine=stored["affine"])
        yield Phantom(volume, MetaTensor(stored["labels"], affine=stored["affine"]))


def _keep(seed: int, folder: Path) -> Path:
    file = folder / f"phantom-{seed}.npz"
    if not file.exists():
        made = phantom(seed)
        beside = folder / f"phantom-{seed}.{os.getpid()}.npz"
        volume, labels = made.volume.numpy().astype(np.int16), made.labels.numpy()
        np.savez(beside, volume=volume, labels=labels, affine=np.asarray(made.volume.affine))
        beside.replace(file)
    return file


def after_loading(preprocessing: Compose) -> Compose:
    """The bundle's preprocessing for what is in memory already."""
    steps = [step for step in preprocessing.transforms if not isinstance(step, LoadImaged | EnsureChannelFirstd)]
    return Compose(steps)


def on_model_grid(case: Phantom, preprocessing: Compose) -> tuple[MetaTensor, torch.Tensor]:
    """A phantom's image as the network sees it, and its labels on the same grid."""
    image = preprocessing({"image": case.volume})["image"]
    return image, to_grid(case.labels, image).as_tensor().to(torch.uint8)


def to_grid(labels: MetaTensor, like: MetaTensor) -> MetaTensor:
    """Labels by nearest neighbour on another image's grid."""
    resample = SpatialResample(mode="nearest", padding_mode="zeros", dtype=torch.float64)
    return resample(labels, dst_affine=like.affine, spatial_size=like.shape[1:])


def train(network: torch.nn.Module, preprocessing: Compose, cases: Iterator[Phantom], settings: dict[str, Any]) -> None:
    """Dice and cross-entropy on crops that favour the small structures; the learning rate rises once and falls."""
    pairs = [on_model_grid(case, preprocessing) for case in cases]
    images = [image.as_tensor() for image, _ in pairs]
    labels = [label for _, label in pairs]
    places = [[torch.nonzero(label[0] == value).to(torch.int16) for value in range(4)] for label in labels]
    random = np.random.default_rng(0)
    loss_of = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings["rate"], weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings["rate"], settings["steps"], pct_start=0.15)
    layout = torch.channels_last if len(settings["crop"]) == 2 else torch.channels_last_3d  # faster on processors
    network.to(memory_format=layout)  # type: ignore[call-overload]
    network.train()
    running = 0.0
    for step in range(1, settings["steps"] + 1):
        batch = [_crop(images, labels, places, settings["crop"], random) for _ in range(settings["batch"])]
        image, label = (torch.stack(parts) for parts in zip(*batch, strict=True))
        loss = loss_of(network(image.contiguous(memory_format=layout)), label.float())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        running += (loss.item() - running) / min(step, 50)
        if step % 50 == 0:
            print(f"step {step} of {settings['steps']}: loss {running:.3f}", flush=True)
    network.eval()


def _crop(
    images: list[torch.Tensor],
    labels: list[torch.Tensor],
    places: list[list[torch.Tensor]],
    size: tuple[int, ...],
    random: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A crop (C, *size) around a voxel of a drawn class, its intensities scaled and shifted a little.

    A 2D crop is a piece of the slice that the voxel lies in.
    """
    weights = np.array(CROPS_PER_CLASS) / sum(CROPS_PER_CLASS)
    value = int(random.choice(4, p=weights))
    having = [number for number, found in enumerate(places) if len(found[value])]
    number = having[int(random.integers(len(having)))]
    found = places[number][value]
    voxel = found[int(random.integers(len(found)))]
    window: list[slice | int] = [slice(None)]
    for axis, extent in enumerate(images[number].shape[1:]):
        if axis >= len(size):
            window.append(int(voxel[axis]))
            continue
        jitter = int(random.integers(-size[axis] // 4, size[axis] // 4 + 1))
        start = int(np.clip(int(voxel[axis]) - size[axis] // 2 + jitter, 0, extent - size[axis]))
        window.append(slice(start, start + size[axis]))
    image, label = images[number][tuple(window)], labels[number][tuple(window)]
    return image * random.uniform(0.92, 1.08) + random.uniform(-0.04, 0.04), label


def evaluate(
    network: torch.nn.Module, preprocessing: Compose, inferer: Inferer, cases: list[Phantom]
) -> dict[str, float]:
    """Mean Dice per structure on the scans' own grids, over the phantoms that have the structure.

    Where a structure is absent, its Dice is not counted, but its false voxels are: as `false_*_ml`, the mean volume.
    """
    scores: dict[str, list[float]] = {name: [] for name in CLASSES}
    false: dict[str, list[float]] = {name: [] for name in CLASSES}
    for case in cases:
        predicted = segment(network, preprocessing, inferer, case.volume)
        for name, value in CLASSES.items():
            found, truth = predicted == value, case.labels.as_tensor() == value
            if truth.any():
                scores[name].append(float(compute_dice(found[None], truth[None])))
            else:
                false[name].append(float(found.sum() * abs(np.linalg.det(case.volume.affine[:3, :3])) / 1000))
        print({name: round(values[-1], 3) for name, values in scores.items() if values}, flush=True)
    dice = {f"mean_dice_{name}": round(float(np.mean(values)), 3) for name, values in scores.items()}
    phantoms = {f"phantoms_with_{name}": len(values) for name, values in scores.items()}
    return (
        dice
        | phantoms
        | {f"false_{name}_ml": round(float(np.mean(values)), 2) for name, values in false.items() if values}
    )


@torch.no_grad()
def segment(network: torch.nn.Module, preprocessing: Compose, inferer: Inferer, volume: MetaTensor) -> torch.Tensor:
    """The label map (1, i, j, k) on the volume's own grid."""
    image = preprocessing({"image": volume})["image"]
    logits = inferer(image[None].as_tensor(), network)
    return to_grid(MetaTensor(logits.argmax(dim=1).float(), affine=image.affine), volume).as_tensor()


def write_weights(network: torch.nn.Module, bundle: Path) -> None:
    """In half precision, which halves the file; readers load it into float32 parameters."""
    half = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(half, bundle / "models" / "model.pt.part")
    (bundle / "models" / "model.pt.part").replace(bundle / "models" / "model.pt")


def read_weights(network: torch.nn.Module, bundle: Path) -> None:
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))


def write_metrics(metrics: dict[str, float], bundle: Path) -> None:
    file = bundle / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata["eval_metrics"] = metrics
    file.write_text(json.dumps(metadata, indent=4) + "\n")
    print(metrics)


if __name__ == "__main__":
    main()
