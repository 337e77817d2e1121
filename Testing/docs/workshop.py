"""The files that the examples of the documentation name: small models and volumes, made as their programs make them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from engine.test_auto3dseg import CONFIG, NETWORK
from engine.test_dicom import ct_slice, write_slices
from monai.networks.nets import SegResNetDS, UNet
from nnunet_peer import nnunet, sample_dataset, sample_plans, train
from PIL import Image
from pydicom.uid import generate_uid
from tiny_bundle import LABELS, unet_weights, write_tiny_bundle

from SegHiResCAMLib.engine.models.authors_unet import AuthorsUNet
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.seg_nrrd import StoredSegment, write_segmentation_nrrd

STUDY_DEMO = Path(__file__).parents[1] / "data/study-of-phantoms"
"""Its table, as `make study-demo` wrote it when the figures of docs/cohort.md were made."""

SHAPE = (24, 20, 18)
AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])


def fill(folder: Path) -> None:
    """Make all of them."""
    image = np.random.default_rng(0).normal(60, 80, SHAPE).astype(np.float32)
    nib.save(nib.Nifti1Image(image, AFFINE), folder / "ct.nii.gz")
    shutil.copy(resource("SampleData", "KidneyPhantom.nrrd"), folder / "phantom.nrrd")
    study = generate_uid()
    write_slices(folder / "ct-dicom", [ct_slice(k, StudyInstanceUID=study) for k in range(6)])
    grey = np.random.default_rng(1).integers(0, 255, (32, 32)).astype(np.uint8)
    Image.fromarray(grey).save(folder / "slice.png")
    lesions = np.zeros((2, *SHAPE), np.uint8)
    lesions[0, 4:8, 4:8, 4:8], lesions[1, 12:16, 10:14, 8:12] = 1, 1
    segments = [StoredSegment(f"Lesion {k + 1}", 1, (1, 0, 0), layer=k, id=f"Segment_{k + 1}") for k in range(2)]
    write_segmentation_nrrd(folder / "lesion.seg.nrrd", lesions, AFFINE, segments)
    organs = np.zeros(SHAPE, np.uint8)
    organs[2:12, 2:12, 2:14], organs[14:22, 2:16, 2:14] = 1, 2
    organ_segments = [StoredSegment("liver", 1, (0.8, 0.5, 0.3)), StoredSegment("kidney", 2, (0.7, 0.3, 0.2))]
    write_segmentation_nrrd(folder / "organs.seg.nrrd", [organs], AFFINE, organ_segments)
    (folder / "study").mkdir()
    shutil.copy(STUDY_DEMO / "cases.parquet", folder / "study/cases.parquet")
    a_bundle(folder)
    a_published_bundle(folder)
    checkpoints(folder)
    an_auto3dseg_model(folder)
    nnunet_results(folder)


def a_bundle(folder: Path) -> None:
    """Of two segments, with the weights as TorchScript, too."""
    for name in ("my-bundle", "my-second-bundle"):
        write_tiny_bundle(folder / name)
    network = UNet(spatial_dims=3, in_channels=1, out_channels=3, channels=[4, 8], strides=[2], norm="batch")
    network.load_state_dict(torch.load(folder / "my-bundle/models/model.pt", weights_only=True))
    torch.jit.trace(network.eval(), torch.zeros(1, 1, 16, 16, 16)).save(folder / "my-bundle/models/model.ts")


def a_published_bundle(folder: Path) -> None:
    """A zip archive, as the Model Zoo has them."""
    made = write_tiny_bundle(folder / "zoo/spleen_ct_segmentation")
    file = made / "configs/metadata.json"
    file.write_text(file.read_text(encoding="utf-8").replace(LABELS[0], "spleen"), encoding="utf-8")
    shutil.make_archive(str(folder / made.name), "zip", made.parent, made.name)


def checkpoints(folder: Path) -> None:
    """One that `describe` recognises, and one of the authors' own network with its description."""
    torch.save(
        unet_weights({"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]}),
        folder / "model.pt",
    )
    arguments = {"encoder_channels": [1, 2, 4, 8, 16, 32], "decoder_channels": [32, 16, 8, 4, 2, 4]}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = AuthorsUNet(**arguments).eval()
        balance(network, network.final_layer[-1].conv_block[0].bias, torch.rand(4, 1, 32, 32))
    torch.save(network.state_dict(), folder / "authors-unet.pt")
    content = {
        "network": {"class": "Vanilla_UNet_2d", "arguments": arguments},
        "labels": [{"name": "kidney"}, {"name": "tumour"}, {"name": "cyst"}],
        "intensity": [{"step": "min-max", "per": "slice"}],
    }
    (folder / "authors-unet.json").write_text(json.dumps(content), encoding="utf-8")


def an_auto3dseg_model(folder: Path) -> None:
    """The zip archive that 3D Slicer's extension downloads."""
    made = folder / "auto3dseg/abdominal-organs-v2.0.0"
    made.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = SegResNetDS(**{key: value for key, value in NETWORK.items() if key != "_target_"}).eval()
        balance(network, network.up_layers[-1].head.bias, torch.rand(2, 1, 16, 16, 16))
    torch.save({"state_dict": network.state_dict(), "config": CONFIG, "epoch": 7}, made / "model.pt")
    (made / "labels.csv").write_text("LabelValue,Name\n1,liver\n2,spleen\n", encoding="utf-8")
    shutil.make_archive(str(folder / made.name), "zip", made.parent, made.name)


def nnunet_results(folder: Path) -> None:
    """Two folds, by nnU-Net's own trainer."""
    (folder / "nnunet").mkdir()
    with nnunet(folder / "nnunet"):
        dataset = sample_dataset(labels={"background": 0, "liver": 1, "tumor": 2})
        made = train(folder / "nnunet", sample_plans(3), dataset, folds=2)
    shutil.move(made, folder / made.name)


def balance(network: torch.nn.Module, bias: torch.nn.Parameter, images: torch.Tensor) -> None:
    """Shift the logits so that each class is found somewhere in noise."""
    with torch.no_grad():
        logits = network(images)
        bias -= logits.mean(dim=(0, *range(2, logits.ndim)))
