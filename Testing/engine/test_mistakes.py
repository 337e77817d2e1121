"""Where a segmentation is wrong: agreement as MONAI and SimpleITK have it, and a list of parts that holds on any grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from engine.geometry import AFFINES, points_of
from monai.data import MetaTensor
from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance
from scipy.spatial.distance import cdist
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.answer.mistakes import compare_with_reference, reference_labels, surface_distances
from SegHiResCAMLib.engine.answer.pixel_sets import Surroundings, weights_of
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.images.region_files import Regions, read_regions
from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume
from SegHiResCAMLib.engine.inference.segmentation import segment
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.records.regions import FalseNegative, FalsePositive, Rim, TruePositive

SHAPE = (24, 20, 18)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SegmentationModel:
    return open_model(write_tiny_bundle(tmp_path_factory.mktemp("bundle")))


def label_map(labels: np.ndarray, matrix: np.ndarray | None = None) -> MetaTensor:
    affine = torch.from_numpy(np.eye(4) if matrix is None else matrix)
    return MetaTensor(torch.from_numpy(labels.astype(np.int16))[None], affine=affine)


def two_blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A kidney (1) as the model and as the reference have it: smooth, overlapping, and each with a part of its own."""
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    generator = np.random.default_rng(seed)
    middle = np.array([10, 9, 8]) + generator.uniform(-1, 1, 3)
    ours = np.linalg.norm(index - middle, axis=-1) < 5.3
    theirs = np.linalg.norm((index - middle - [1.4, 0.6, -0.8]) * [1, 1.2, 0.9], axis=-1) < 5
    ours[20:22, 2:4, 2:5], theirs[21:23, 15:18, 14:16] = True, True
    return ours, theirs


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 3.0)])
def test_agreement_is_that_of_monai_and_simpleitk(model: SegmentationModel, spacing: tuple[float, ...]) -> None:
    ours, theirs = two_blobs()
    matrix = np.diag([*spacing, 1.0])
    (found,) = compare_with_reference(label_map(ours, matrix), label_map(theirs, matrix), model, ()).agreements
    hot = [torch.from_numpy(np.stack([~mask, mask]).astype(np.float32))[None] for mask in (ours, theirs)]
    mean = compute_average_surface_distance(*hot, symmetric=True, spacing=spacing)
    assert found.mean_surface_distance_mm == pytest.approx(float(mean), rel=1e-5)  # in float32
    hausdorff = compute_hausdorff_distance(*hot, percentile=95, spacing=spacing)
    assert found.hausdorff_95_mm == pytest.approx(float(hausdorff), rel=1e-4)  # its percentile is placed in float32
    assert found.dice == pytest.approx(float(compute_dice(*hot, include_background=False)), rel=1e-6)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (ours, theirs)))
    assert found.dice == pytest.approx(overlap.GetDiceCoefficient(1), rel=1e-12)
    voxel = np.prod(spacing) / 1000
    assert (found.volume_ml, found.reference_ml) == pytest.approx((ours.sum() * voxel, theirs.sum() * voxel))


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_surface_distances_are_those_in_the_patient(matrix: np.ndarray) -> None:
    ours, theirs = two_blobs()

    def border(mask: np.ndarray) -> np.ndarray:
        inside = np.pad(mask, 1)
        shifts = [np.roll(inside, step, axis) for axis in range(3) for step in (1, -1)]
        return points_of(matrix, np.argwhere((inside & ~np.all(shifts, axis=0))[1:-1, 1:-1, 1:-1]))

    distances = cdist(border(ours), border(theirs))
    there, back = surface_distances(ours, theirs, matrix)
    assert there == pytest.approx(distances.min(axis=1), abs=1e-9)
    assert back == pytest.approx(distances.min(axis=0), abs=1e-9)


def test_a_ball_that_is_a_voxel_larger_is_a_voxel_away() -> None:
    ours, theirs = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    ours[5:15, 5:15, 5:15], theirs[3:17, 3:17, 3:17] = True, True
    there, _ = surface_distances(ours, theirs, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert there == pytest.approx(np.full(len(there), 4.0))


@pytest.mark.parametrize("matrix", AFFINES.values(), ids=AFFINES)
def test_mistakes_are_listed_with_size_and_place_the_largest_first(
    model: SegmentationModel, matrix: np.ndarray
) -> None:
    ours, theirs = np.zeros(SHAPE, int), np.zeros(SHAPE, int)
    ours[4:10, 4:10, 4:10], theirs[4:12, 4:10, 4:10] = 1, 1  # a border that runs elsewhere: 2 x 6 x 6
    ours[18:21, 2:5, 2:5] = 1  # made up, where the reference has a tumour
    theirs[18:21, 2:5, 2:5] = 2
    found = compare_with_reference(label_map(ours, matrix), label_map(theirs, matrix), model, ())
    said = [(one.segment, one.mistake, one.is_separate, one.instead) for one in found.mistakes]
    assert said == [
        ("kidney", "false-negative", False, "background"),
        ("kidney", "false-positive", True, "tumour"),
        ("tumour", "false-negative", True, "kidney"),
    ]
    voxel = abs(np.linalg.det(matrix[:3, :3])) / 1000
    assert [one.volume_ml for one in found.mistakes] == pytest.approx([72 * voxel, 27 * voxel, 27 * voxel])
    assert found.mistakes[1].point_ras_mm == pytest.approx(points_of(matrix, np.array([[19, 3, 3]]))[0], abs=1e-9)
    index = np.linalg.solve(matrix, [*found.mistakes[0].point_ras_mm, 1])[:3].round().astype(int)
    assert (ours[tuple(index)], theirs[tuple(index)]) == (0, 1)


def test_a_segmentation_that_is_the_reference_has_no_mistakes(model: SegmentationModel) -> None:
    ours, _ = two_blobs()
    found = compare_with_reference(label_map(ours), label_map(ours), model, ())
    assert (found.agreements[0].dice, found.agreements[0].hausdorff_95_mm, found.mistakes) == (1, 0, ())


def test_a_segment_that_is_missed_altogether_has_no_distance(model: SegmentationModel) -> None:
    _, theirs = two_blobs()
    (found,) = compare_with_reference(label_map(np.zeros(SHAPE)), label_map(theirs), model, ()).agreements
    assert (found.dice, found.mean_surface_distance_mm, found.volume_ml) == (0, None, 0)


def test_segments_of_a_reference_are_matched_by_name_and_labels_by_value(model: SegmentationModel) -> None:
    drawn = label_map(np.arange(4).reshape(4, 1, 1))
    named = reference_labels(Regions(drawn, {1: "Tumour", 2: "liver", 3: "KIDNEY"}, has_names=True), model)
    assert named.flatten().tolist() == [0, 2, 0, 1]
    numbered = reference_labels(Regions(drawn, {1: "label 1", 2: "label 2", 3: "label 3"}, has_names=False), model)
    assert numbered.flatten().tolist() == [0, 1, 2, 0]
    with pytest.raises(EngineError, match="kidney \\(1\\), tumour \\(2\\)"):
        reference_labels(Regions(drawn, {1: "spleen"}, has_names=True), model)


def surroundings(model: SegmentationModel, ours: np.ndarray, theirs: np.ndarray | None) -> Surroundings:
    grid = label_map(np.zeros(SHAPE)).float()
    labels = torch.from_numpy(ours.astype(np.int16))
    reference = None if theirs is None else label_map(theirs)
    prepared = PreparedVolume(grid, grid)
    return Surroundings(model, model.labels[0], prepared, lambda: labels, None, lambda _rule: labels, reference)


def test_the_three_kinds_are_what_the_words_say(model: SegmentationModel) -> None:
    ours, theirs = two_blobs()
    around = surroundings(model, ours, theirs)
    assert torch.equal(weights_of(TruePositive(), around), torch.from_numpy(ours & theirs))
    assert torch.equal(weights_of(FalsePositive(), around), torch.from_numpy(ours & ~theirs))
    assert torch.equal(weights_of(FalseNegative(), around), torch.from_numpy(theirs & ~ours))
    part = weights_of(FalseNegative((21, 15, 14)), around)
    assert int(part.sum()) == 2 * 3 * 2
    assert bool(part[21:23, 15:18, 14:16].all())
    with pytest.raises(EngineError, match="list of mistakes"):
        weights_of(FalsePositive((21, 15, 14)), around)


def test_the_rim_is_a_voxel_wide_on_both_sides_which_count_the_same(model: SegmentationModel) -> None:
    ours = np.zeros(SHAPE, bool)
    ours[5:9, 5:10, 5:11] = True
    rim = weights_of(Rim(), surroundings(model, ours, None))
    inside, outside = 4 * 5 * 6 - 2 * 3 * 4, 2 * (4 * 5 + 5 * 6 + 4 * 6)
    assert (int((rim > 0).sum()), int((rim < 0).sum())) == (inside, outside)
    assert float(rim[rim > 0].sum()) == inside
    assert float(rim[rim < 0].sum()) == pytest.approx(-inside, rel=1e-6)  # float32


def test_mistakes_without_a_reference_are_asked_for_one(model: SegmentationModel) -> None:
    ours, _ = two_blobs()
    with pytest.raises(EngineError, match="--reference"):
        weights_of(FalsePositive(), surroundings(model, ours, None))


def asked(model: SegmentationModel, region: Any, **options: Any) -> ExplainRequest:
    volume = MetaTensor(torch.from_numpy(noise())[None], affine=torch.eye(4, dtype=torch.float64))
    found = segment(model, volume).labels.numpy()[0]
    reference = label_map(np.where(found == 0, 1, found))  # the kidney was missed wherever there is background
    return replace(ExplainRequest.of(volume, model, "kidney", region=region, **options), reference=reference)


def test_a_false_negative_is_asked_against_the_class_that_won(model: SegmentationModel) -> None:
    missed = explain(asked(model, FalseNegative()))
    against = explain(asked(model, FalseNegative(), contrast="background"))
    assert missed.question.contrast == "background"
    assert torch.equal(missed.signed_map, against.signed_map)
    assert missed.score < 0  # the other class won, so in sum its logits are higher


def test_the_rim_has_the_map_of_the_inside_minus_that_of_the_outside(model: SegmentationModel) -> None:
    """Maps are linear in the region, so that of the rim is the difference of two."""
    volume = asked(model, Rim()).volume
    labels = segment(model, volume).labels
    whole = explain(ExplainRequest.of(volume, model, "kidney", region=Rim()))
    assert whole.mean_probability is None
    rim = weights_of(Rim(), surroundings(model, labels.numpy()[0] == 1, None))
    parts = []
    for side in (rim.clamp(min=0), (-rim).clamp(min=0)):
        mask = MetaTensor(side[None], affine=torch.eye(4, dtype=torch.float64))
        parts.append(explain(ExplainRequest.of(volume, model, "kidney", mask=mask)))
    difference = parts[0].signed_map - parts[1].signed_map
    # Sums of some thousand products in float32, of which differences are taken.
    limit = 1e-4 * float(torch.maximum(parts[0].signed_map.abs().max(), parts[1].signed_map.abs().max()))
    assert torch.allclose(whole.signed_map, difference, rtol=0, atol=limit)
    assert whole.score == pytest.approx(parts[0].score - parts[1].score, rel=1e-3)


def test_there_is_no_mistake_to_explain_where_there_is_none(model: SegmentationModel) -> None:
    request = asked(model, FalsePositive())
    with pytest.raises(EngineError, match="no false positive of the 'kidney'"):
        explain(request)


def test_the_command_lists_mistakes_and_explains_one(model: SegmentationModel, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from SegHiResCAMLib.cli import app
    from SegHiResCAMLib.nrrd import write_nrrd
    from SegHiResCAMLib.records.files import read_explanation

    write_nrrd(tmp_path / "ct.nrrd", noise(), np.eye(4), {})
    labels = asked(model, Rim()).reference.numpy()[0]
    write_nrrd(tmp_path / "truth.nrrd", labels, np.eye(4), {})
    arguments = ["explain", str(tmp_path / "ct.nrrd"), "-m", model.source, "-s", "kidney", "-o", str(tmp_path / "why")]
    arguments += ["--reference", str(tmp_path / "truth.nrrd"), "--region", "false-negative"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "false-negative:" in result.output
    record = read_explanation((tmp_path / "why/explanation.json").read_text(encoding="utf-8"))
    assert record.comparison is not None
    assert record.question.contrast == "background"
    lines = (tmp_path / "why/mistakes.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(record.comparison.mistakes)
    assert (tmp_path / "why/agreement.csv").exists()


def test_what_a_reference_does_not_have_is_wrong_where_it_is_asked_about(model: SegmentationModel) -> None:
    ours, theirs = two_blobs()
    made_up = np.where(theirs, 1, 0) + 2 * (ours & ~theirs)  # a tumour of which the reference knows nothing
    silent = compare_with_reference(label_map(made_up), label_map(theirs), model, ())
    assert [one.segment for one in silent.agreements] == ["kidney"]
    asked = compare_with_reference(label_map(made_up), label_map(theirs), model, ["tumour"])
    kidney, tumour = asked.agreements
    assert (kidney.segment, kidney.dice) == ("kidney", 1)
    assert (tumour.segment, tumour.dice, tumour.reference_ml, tumour.hausdorff_95_mm) == ("tumour", 0, 0, None)
    assert {(one.segment, one.mistake) for one in asked.mistakes} == {("tumour", "false-positive")}
    assert sum(one.volume_ml for one in asked.mistakes) == pytest.approx((made_up == 2).sum() / 1000)


def test_a_reference_of_a_healthy_patient_is_empty(model: SegmentationModel, tmp_path: Path) -> None:
    write_volume(label_map(np.zeros(SHAPE)), tmp_path / "healthy.nrrd")
    reference = reference_labels(read_regions(tmp_path / "healthy.nrrd", may_be_empty=True), model)
    ours, _ = two_blobs()
    (found,) = compare_with_reference(label_map(2 * ours), reference, model, ["tumour"]).agreements
    assert (found.dice, found.reference_ml) == (0, 0)
    (both,) = compare_with_reference(reference, reference, model, ["tumour"]).agreements
    assert both.dice is None  # no number says how well nothing was found
    with pytest.raises(EngineError, match="has no region"):
        read_regions(tmp_path / "healthy.nrrd")
