"""The real worker answers what the engine answers, and keeps what it has made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from rounding import close
from tiny_bundle import LABELS, NETWORK, noise, write_tiny_bundle

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.answer.model_summary import summary_of
from SegHiResCAMLib.engine.images.volume import volume_from_array
from SegHiResCAMLib.engine.inference.segmentation import segment
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.records.models import MethodOption
from SegHiResCAMLib.records.question import Question, SegmentOptions
from SegHiResCAMLib.worker.client import Client
from SegHiResCAMLib.worker.protocol import Error, Explain, Layers, OpenModel, Progress, Result, SegmentVolume, Voxels

TUMOUR = Question(segment="tumour")


def ask(client: Client, request: object) -> Result:
    answer = client.wait(client.submit(request))
    assert isinstance(answer, Result), answer
    return answer


def refused(client: Client, request: object) -> Error:
    answer = client.wait(client.submit(request))
    assert isinstance(answer, Error)
    return answer


def test_a_model_tells_its_labels_and_the_methods(client: Client, a_model: str) -> None:
    answer = ask(client, OpenModel(a_model)).answer
    assert answer.model == summary_of(open_model(a_model))
    assert (answer.model.name, answer.model.spatial_dims, answer.model.in_channels) == ("Tiny network", 3, 1)
    assert [label.name for label in answer.model.labels] == list(LABELS)
    assert answer.model.labels[0].terminology.type.meaning == "Kidney"
    assert answer.model.has_background
    methods = {method.identifier: method for method in answer.methods}
    assert methods["seg-hires-grad-cam"].title == "Seg-HiRes-Grad CAM"
    assert methods["seg-xres-cam"].options == (
        MethodOption("pool", 2, (), True, "positions along every axis of a block"),
        MethodOption("mode", "mean", ("mean", "max"), False, "what stands for the gradients of a block"),
    )
    assert [name for name, method in methods.items() if method.ignores_class] == [
        "seg-eigen-cam",
        "seg-kpca-cam",
        "seg-fem",
    ]


def test_labels_are_those_of_the_engine_on_the_volumes_own_grid(client: Client, a_model: str, a_volume: Voxels) -> None:
    labels = ask(client, SegmentVolume(a_model, a_volume)).arrays["labels"]
    here = segment(open_model(a_model), volume_from_array(a_volume.array, np.array(a_volume.affine)))
    assert np.array_equal(labels, here.labels.numpy()[0])
    assert set(np.unique(labels)) == {0, 1, 2}


def test_the_heat_map_is_that_of_the_engine(client: Client, a_model: str, a_volume: Voxels) -> None:
    there = ask(client, Explain(a_model, a_volume, Question(segment="tumour", method="seg-grad-cam")))
    volume = volume_from_array(a_volume.array, np.array(a_volume.affine))
    here = explain(ExplainRequest.of(volume, open_model(a_model), "tumour", method="seg-grad-cam"))
    assert there.arrays["signed_map"].dtype == np.float32
    assert close(there.arrays["signed_map"], here.signed_map.numpy()[0], dtype=torch.float32)
    assert close(there.answer.record.score, here.score, dtype=torch.float32)
    assert there.answer.record.model.sha256 == open_model(a_model).sha256


def test_a_mask_replaces_the_predicted_segment(client: Client, a_model: str, a_volume: Voxels) -> None:
    mask = np.zeros(a_volume.array.shape, np.uint8)
    mask[3:6, 4:8, 2:9] = 1
    request = Explain(a_model, a_volume, TUMOUR, mask=Voxels(a_volume.affine, mask))
    assert ask(client, request).answer.record.voxel_count == 3 * 4 * 7


def test_arrays_in_either_memory_order_arrive_the_same(client: Client, a_model: str) -> None:
    array = noise()
    rows, columns = (Voxels.of(order(array), np.eye(4)) for order in (np.ascontiguousarray, np.asfortranarray))
    first, second = (ask(client, SegmentVolume(a_model, volume)).arrays["labels"] for volume in (rows, columns))
    assert np.array_equal(first, second)


def test_a_second_explanation_loads_and_segments_nothing(client: Client, a_model: str, a_volume: Voxels) -> None:
    ask(client, SegmentVolume(a_model, Voxels.of(noise(seed=3), np.eye(4))))
    first = ask(client, Explain(a_model, a_volume, TUMOUR))
    second = ask(client, Explain(a_model, a_volume, Question(segment="kidney")))
    assert first.reused == ("model",)
    assert second.reused == ("model", "volume", "segmentation")


def test_equal_voxels_elsewhere_are_another_volume(client: Client, a_model: str, a_volume: Voxels) -> None:
    ask(client, SegmentVolume(a_model, a_volume))
    moved = Voxels.of(a_volume.array, np.diag([1.0, 1, 4, 1]))
    assert ask(client, SegmentVolume(a_model, moved)).reused == ("model",)


def test_a_model_whose_file_has_changed_is_read_again(client: Client, tmp_path: Path, a_volume: Voxels) -> None:
    bundle = write_tiny_bundle(tmp_path / "model")
    before = ask(client, SegmentVolume(str(bundle), a_volume)).answer.model.sha256
    torch.save(UNet(spatial_dims=3, **NETWORK).state_dict(), bundle / "models/model.pt")
    after = ask(client, SegmentVolume(str(bundle), a_volume))
    assert after.answer.model.sha256 != before
    assert after.reused == ("volume",)


def test_layers_are_listed_for_the_volumes_own_spacing(client: Client, a_model: str, a_volume: Voxels) -> None:
    listed = ask(client, Layers(a_model, a_volume)).answer.layers
    (suggested,) = (layer for layer in listed.layers if layer.name == listed.suggested)
    assert suggested.grid == (8, 8, 8)  # windows of 16 after a stride of 2
    assert suggested.mm == pytest.approx((3.0, 3.0, 6.0))


def test_layers_of_a_2d_network_have_two_axes(client: Client, a_flat_model: str, a_volume: Voxels) -> None:
    listed = ask(client, Layers(a_flat_model, a_volume)).answer.layers
    (suggested,) = (layer for layer in listed.layers if layer.name == listed.suggested)
    assert suggested.mm == pytest.approx((3.0, 3.0))


def test_progress_rises_to_one(client: Client, a_model: str) -> None:
    told: list[Progress] = []
    client.wait(client.submit(Explain(a_model, Voxels.of(noise(seed=9), np.eye(4)), TUMOUR)), told.append)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1], told[-1].text) == (0.0, 1.0, "Explained")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"segment": "spleen"}, "segment-unknown", "kidney, tumour"),
        ({"method": "guesswork"}, "method-unknown", "seg-hires-grad-cam"),
        ({"layer": "model.99"}, "layer-unknown", "model.99"),
        ({"mode": "slice-wise"}, "mode-unfit", "volumetric"),
        ({"model": "/nowhere/at/all"}, "model-absent", "/nowhere/at/all"),
    ],
)
def test_what_the_engine_refuses_arrives_as_its_message(
    change: dict[str, str], code: str, said: str, client: Client, a_model: str, a_volume: Voxels
) -> None:
    asked = {"model": a_model, "segment": "tumour", **change}
    error = refused(client, Explain(asked.pop("model"), a_volume, Question(**asked)))
    assert error.code == code
    assert said in error.message
    assert error.trace == ""


def test_a_mistake_in_the_program_gives_a_message_and_a_trace_for_the_log(
    client: Client, a_flat_model: str, a_volume: Voxels
) -> None:
    upside_down = SegmentOptions()
    object.__setattr__(upside_down, "axis", "upside down")
    error = refused(client, SegmentVolume(a_flat_model, a_volume, upside_down))
    assert error.code == "internal"
    assert "\n" not in error.message
    assert "Traceback" in error.trace
    assert "Traceback" in client.log_tail()
    assert ask(client, OpenModel(a_flat_model))


def test_requests_wait_in_line_and_are_answered_in_order(client: Client, a_model: str, a_volume: Voxels) -> None:
    questions = [Question(segment=name) for name in ("tumour", "kidney", "tumour")]
    requests = [client.submit(Explain(a_model, a_volume, question)) for question in questions]
    names = [client.wait(request).answer.record.question.segment for request in requests]
    assert names == ["tumour", "kidney", "tumour"]


def test_only_the_present_volume_stays_in_the_private_folder(client: Client, a_model: str) -> None:
    for seed in (1, 2):
        ask(client, SegmentVolume(a_model, Voxels.of(noise(seed=seed), np.eye(4))))
    files = [file.name for file in client.folder.iterdir()]
    assert len(files) == 1
    assert files[0].startswith("volume-")


def test_a_model_that_is_taken_up_again_after_another_explains_what_it_did_before(
    client: Client, a_model: str, a_volume: Voxels, tmp_path: Path
) -> None:
    ask(client, SegmentVolume(a_model, a_volume))
    question = Explain(a_model, a_volume, TUMOUR)
    before = ask(client, question).arrays["signed_map"]
    ask(client, OpenModel(str(write_tiny_bundle(tmp_path / "another"))))
    assert np.array_equal(ask(client, question).arrays["signed_map"], before)
    refused(client, OpenModel(str(tmp_path / "absent")))
    assert np.array_equal(ask(client, question).arrays["signed_map"], before)
