"""Real networks on a real CT: the Dice that others reached with them, and the same result however the volume lies in its file."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from real_data import assemble_bundle, slab
from rounding import close

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.engine.inference.preprocessing import prepare, restore
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.inference.slicing import from_stack, to_stack
from SegHiResCAMLib.engine.models import SegmentationModel, open_model

pytestmark = pytest.mark.real_data
WITH_KIDNEYS, APART = (28, 108), 6  # slices of the CT: the part that is segmented, and one in so many of it
AXIS_ORDERS = ["RAS", "LPS", "ARS", "ASL", "IPR", "LIA", "PSR", "SAL"]


@pytest.fixture(scope="module")
def ct(kidney_case: Path) -> MetaTensor:
    return read_volume(kidney_case / "PATIENT_DICOM")


@pytest.fixture(scope="module")
def kidney_model(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SegmentationModel:
    return open_model(assemble_bundle(test_data, tmp_path_factory.mktemp("2d"), "kits19-unet2d"))


@pytest.fixture(scope="module")
def spleen_model(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> SegmentationModel:
    return open_model(assemble_bundle(test_data, tmp_path_factory.mktemp("3d"), "spleen-unet3d"))


@pytest.fixture(scope="module")
def sparse(ct: MetaTensor) -> MetaTensor:
    """Some slices of the CT, to save minutes: a slice-wise network does not see the others."""
    part = slab(ct, *WITH_KIDNEYS)
    affine = part.affine.clone()
    affine[:3, 2] *= APART
    return MetaTensor(part.as_tensor()[..., ::APART].clone(), affine=affine)


@pytest.fixture(scope="module")
def kidneys(kidney_model: SegmentationModel, sparse: MetaTensor) -> Segmentation:
    return segment(kidney_model, sparse)


@pytest.fixture(scope="module")
def spleen(spleen_model: SegmentationModel, ct: MetaTensor) -> Segmentation:
    return segment(spleen_model, ct)


@pytest.fixture(scope="module")
def spleen_map(spleen_model: SegmentationModel, ct: MetaTensor, spleen: Segmentation) -> Explanation:
    return explain(ExplainRequest.of(ct, spleen_model, "spleen"), spleen)


def expert(case: Path, *names: str) -> np.ndarray:
    return sum(read_volume(case / "MASKS_DICOM" / name).numpy()[0] for name in names) > 0


def dice(ours: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * np.sum(ours & truth) / (np.sum(ours) + np.sum(truth)))


def reordered(volume: MetaTensor, codes: str) -> MetaTensor:
    """The same volume with its axes in another order and direction, by nibabel."""
    image = nib.Nifti1Image(volume.numpy()[0], volume.affine.numpy())
    change = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    turned = image.as_reoriented(change)
    return MetaTensor(np.asarray(turned.dataobj)[None].copy(), affine=torch.as_tensor(turned.affine.copy()))


def tilted(volume: MetaTensor) -> MetaTensor:
    """The same voxels of a patient who lies askew: the whole frame turned by 20 degrees about an oblique axis."""
    axis = np.array([1.0, 2.0, 2.0]) / 3
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return MetaTensor(volume.as_tensor(), affine=torch.as_tensor(turn @ volume.affine.numpy()))


def at_points_of(reference: MetaTensor, values: MetaTensor, codes: str) -> np.ndarray:
    """`values` (1, i, j, k) on axes `codes`, put back on the axes of `reference` by nibabel."""
    own = "".join(nib.aff2axcodes(reference.affine.numpy()))
    assert "".join(nib.aff2axcodes(values.affine.numpy())) == codes
    back = reordered(values, own)
    assert np.allclose(back.affine, reference.affine, rtol=0, atol=1e-6)
    return back.numpy()[0]


def test_the_kits19_network_outlines_both_kidneys_slice_by_slice(
    kidneys: Segmentation, kidney_case: Path, sparse: MetaTensor
) -> None:
    found = kidneys.labels
    assert found.shape == sparse.shape
    assert torch.equal(found.affine, sparse.affine)
    assert (
        dice(found.numpy()[0] == 1, expert(kidney_case, "rightkidney", "leftkidney")[..., slice(*WITH_KIDNEYS, APART)])
        >= 0.86
    )


def test_the_kidney_is_explained_on_the_grid_of_the_ct(
    kidney_model: SegmentationModel, kidneys: Segmentation, sparse: MetaTensor
) -> None:
    """Two slices of it, to save time: slices that the mask does not touch are not computed."""
    outlined = kidneys.labels
    middle = int(np.median(np.nonzero(outlined.numpy()[0])[2]))
    keep = torch.zeros_like(outlined)
    keep[..., middle : middle + 2] = outlined[..., middle : middle + 2]
    answer = explain(ExplainRequest.of(sparse, kidney_model, "kidney", mask=keep), kidneys)
    heatmap = answer.heatmap
    assert heatmap.shape == sparse.shape
    assert torch.equal(heatmap.affine, sparse.affine)
    assert answer.windows_touched == 2
    assert answer.windows == sparse.shape[3]
    assert np.unique(np.nonzero(heatmap.numpy()[0])[2]).tolist() == [middle, middle + 1]
    assert answer.peak[0] == pytest.approx(float(heatmap.max()))


@pytest.mark.parametrize("codes", AXIS_ORDERS)
def test_the_kits19_network_sees_the_same_slices_in_every_axis_order(
    kidney_model: SegmentationModel, ct: MetaTensor, codes: str
) -> None:
    """What the network is given is equal to the bit, and what comes back lies at the same patient points."""
    volume = slab(ct, 60, 66)
    straight, turned = prepare(kidney_model, volume), prepare(kidney_model, reordered(volume, codes))
    stack = to_stack(kidney_model, straight.image, "axial")
    assert torch.equal(to_stack(kidney_model, turned.image, "axial"), stack)
    values = torch.rand(len(stack), *stack.shape[2:])
    results = [
        restore(from_stack(kidney_model, prepared.image, "axial", values), prepared, "linear")
        for prepared in (straight, turned)
    ]
    assert np.array_equal(at_points_of(volume, results[1], codes), results[0].numpy()[0])


@pytest.fixture(scope="module")
def two_slices(ct: MetaTensor) -> MetaTensor:
    return slab(ct, 62, 64)


@pytest.fixture(scope="module")
def expected(kidney_model: SegmentationModel, two_slices: MetaTensor) -> Explanation:
    return explain(ExplainRequest.of(two_slices, kidney_model, "kidney"))


@pytest.mark.parametrize("change", ["PSR", "tilted"])
def test_two_slices_are_outlined_and_explained_alike_however_they_lie(
    kidney_model: SegmentationModel, two_slices: MetaTensor, expected: Explanation, change: str
) -> None:
    other = tilted(two_slices) if change == "tilted" else reordered(two_slices, change)
    found = explain(ExplainRequest.of(other, kidney_model, "kidney"))
    if change == "tilted":
        labels, heat = found.segmentation.labels.numpy()[0], found.heatmap.numpy()[0]
    else:
        labels = at_points_of(two_slices, found.segmentation.labels.float(), change)
        heat = at_points_of(two_slices, found.heatmap, change)
    assert np.array_equal(labels, expected.segmentation.labels.numpy()[0])
    assert close(heat, expected.heatmap.numpy()[0], dtype=torch.float32)


@pytest.mark.parametrize("size", [(481, 415), (467, 403)])
def test_cropped_slices_are_segmented_as_by_the_networks_own_forward_pass(
    kidney_model: SegmentationModel, two_slices: MetaTensor, size: tuple[int, int]
) -> None:
    """Its instance norms would see padding, and the network pads by itself where it needs to."""
    columns, rows = size
    affine = two_slices.affine.clone()
    affine[:3, 3] += affine[:3, 0] * 20 + affine[:3, 1] * 60
    cropped = MetaTensor(two_slices.as_tensor()[:, 20 : 20 + columns, 60 : 60 + rows].clone(), affine=affine)
    found = segment(kidney_model, cropped, device="cpu")
    stack = to_stack(kidney_model, found.prepared.image, "axial")
    assert set(stack.shape[2:]) == set(size)
    with torch.no_grad():
        logits = torch.cat([kidney_model.network(one[None]) for one in stack])
    expected = from_stack(kidney_model, found.prepared.image, "axial", (logits[:, 0] > 0).short())
    sure = from_stack(kidney_model, found.prepared.image, "axial", logits[:, 0].abs() > 1e-3)
    assert expected.any()
    assert torch.equal(found.model_labels[sure], expected[sure])


def test_the_spleen_network_outlines_the_spleen_as_a_volume(
    spleen: Segmentation, kidney_case: Path, ct: MetaTensor
) -> None:
    found = spleen.labels
    assert found.shape == ct.shape
    assert torch.equal(found.affine, ct.affine)
    assert dice(found.numpy()[0] == 1, expert(kidney_case, "spleen")) >= 0.80


def test_the_label_map_lies_where_the_spleen_network_put_it(spleen: Segmentation) -> None:
    """To 0.1 mm along the slices, which are 1.6 mm apart; in the plane, where nearly two voxels lie in each of the network's, to half a one."""

    def centre(labels: torch.Tensor, affine: torch.Tensor) -> np.ndarray:
        inside = np.argwhere(labels.numpy() == 1).mean(0)
        return affine.numpy()[:3, :3] @ inside + affine.numpy()[:3, 3]

    predicted = centre(spleen.model_labels, spleen.prepared.image.affine)
    found = centre(spleen.labels.as_tensor()[0], spleen.labels.affine)
    assert (np.abs(found - predicted) < (0.57 / 2, 0.57 / 2, 0.1)).all()


def test_the_spleen_is_on_the_patients_left_and_so_is_the_peak_of_its_map(
    spleen_map: Explanation, ct: MetaTensor
) -> None:
    middle = ct.affine.numpy() @ [*(np.array(ct.shape[1:]) / 2), 1]
    _, (right, _, _) = spleen_map.peak
    assert right < middle[0]
    assert spleen_map.heatmap.shape == ct.shape
    assert torch.equal(spleen_map.heatmap.affine, ct.affine)


@pytest.mark.parametrize("codes", AXIS_ORDERS)
def test_the_spleen_network_gives_the_same_in_every_axis_order(
    spleen_model: SegmentationModel, ct: MetaTensor, codes: str
) -> None:
    """The network is given the same to the bit; labels and map come back to the same patient points."""
    volume = slab(ct, 60, 80)
    straight, turned = prepare(spleen_model, volume), prepare(spleen_model, reordered(volume, codes))
    assert torch.equal(turned.image.as_tensor(), straight.image.as_tensor())
    values = torch.rand(straight.image.shape[1:])
    for grid_values, way in (((values > 0.5).short(), "nearest"), (values, "linear")):
        expected, found = (restore(grid_values, one, way).float() for one in (straight, turned))
        back = at_points_of(volume, found, codes)
        assert (
            np.array_equal(back, expected.numpy()[0])
            if way == "nearest"
            else close(back, expected[0], dtype=torch.float32)
        )


def test_a_tilted_patient_has_the_same_spleen_and_the_same_map_at_the_turned_points(
    spleen_model: SegmentationModel, ct: MetaTensor, spleen: Segmentation, spleen_map: Explanation
) -> None:
    other = tilted(ct)
    found = explain(ExplainRequest.of(other, spleen_model, "spleen"))
    assert torch.equal(found.segmentation.labels.as_tensor(), spleen.labels.as_tensor())
    assert close(found.heatmap, spleen_map.heatmap, dtype=torch.float32)
    turn = other.affine.numpy() @ np.linalg.inv(ct.affine.numpy())
    assert np.allclose(turn @ [*spleen_map.peak[1], 1], [*found.peak[1], 1], atol=1e-3)
