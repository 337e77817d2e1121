"""The panel on a real CT with the KiTS19 network: nothing stands still, everything can be cancelled, nothing is loaded twice."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from a_record import a_record
from harness.desktop import Desktop
from PIL import Image
from real_data import assemble_bundle, slab

from panel.steps import STANDSTILL_S, choose, choose_model, choose_segment, explain, idle, segment, standstill
from SegHiResCAMLib.scene.heatmap import add_heatmap, explanation_of, prepare_map
from SegHiResCAMLib.scene.picture import slice_picture_steps
from SegHiResCAMLib.scene.save import save_scene
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, prepare_labels, segment_array
from SegHiResCAMLib.scene.surfaces import has_surfaces
from SegHiResCAMLib.scene.volumes import add_volume, volume_array
from SegHiResCAMLib.turns import finish

CANCEL_S = 2.0
SLICES = (67, 69)  # of 129, with both kidneys; each costs two seconds

pytestmark = [pytest.mark.real_data, pytest.mark.engine]


@pytest.fixture(scope="module")
def ct(kidney_case: Path) -> Any:
    from SegHiResCAMLib.engine.images.volume import read_volume

    return read_volume(kidney_case / "PATIENT_DICOM")


@pytest.fixture(scope="module")
def kits19(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assemble_bundle(test_data, tmp_path_factory.mktemp("models"), "kits19-unet2d")


@pytest.fixture
def volume(scene: Any, ct: Any) -> Any:
    part = slab(ct, *SLICES)
    return add_volume(scene, part.numpy()[0], part.affine.numpy(), "CT")


def test_a_kidney_is_outlined_explained_shown_and_saved_without_a_standstill(
    desktop: Desktop, scene: Any, volume: Any, kits19: Path, tmp_path: Path
) -> None:
    choose_model(desktop, kits19)
    desktop.calls.clear()
    segmentation = segment(desktop)
    assert segment_array(segmentation, "kidney", volume).sum() * 0.5 > 1000
    choose_segment(desktop, "kidney")
    heatmap = explain(desktop)
    desktop.ui.opacitySlider.setValue(0.7)
    desktop.ui.peakButton.click()
    assert standstill(desktop) < STANDSTILL_S

    array, affine = volume_array(heatmap)
    assert array.shape == volume_array(volume)[0].shape
    assert np.array_equal(affine, volume_array(volume)[1])
    finish(slice_picture_steps(tmp_path / "overlay.png", volume, heatmap, segmentation))
    picture = np.asarray(Image.open(tmp_path / "overlay.png").convert("RGB")).astype(int)
    assert (np.ptp(picture, axis=2) > 60).sum() > 500  # coloured pixels on a grey image
    facts = explanation_of(heatmap)
    save_scene(scene, tmp_path / "scene.mrb")
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "scene.mrb"))
    assert explanation_of(desktop.ui.heatmapSelector.currentNode()) == facts
    idle(desktop)


def test_a_second_explanation_loads_neither_model_nor_volume_again(desktop: Desktop, volume: Any, kits19: Path) -> None:
    logic = desktop.widget.logic
    logic.segment(volume, kits19)
    job = logic.explain(volume, kits19, "kidney", method="seg-grad-cam", wait=False)
    logic.explainer.wait(job)
    assert {"model", "volume", "segmentation"} <= set(job.reused)


@pytest.mark.parametrize("after", [0.0, 0.3, 2.5])
def test_at_any_moment_it_is_cancelled_within_two_seconds(
    desktop: Desktop, scene: Any, volume: Any, kits19: Path, after: float
) -> None:
    choose_model(desktop, kits19)
    before = scene.GetNumberOfNodes()
    choose(desktop.ui.axisSelector, "coronal" if after else "sagittal")  # so that it segments anew, many slices
    desktop.ui.segmentButton.click()
    began = time.monotonic()
    desktop.wait(lambda: time.monotonic() - began >= after)
    pressed = time.monotonic()
    desktop.ui.segmentButton.click()
    assert desktop.ui.statusLabel.text == "Cancelled."
    idle(desktop)  # nothing computes any more
    assert time.monotonic() - pressed < CANCEL_S + 1.0  # and one for a processor that others use, too
    assert scene.GetNumberOfNodes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_killed_in_the_middle_the_scene_is_unharmed_and_the_next_click_works(
    desktop: Desktop, scene: Any, volume: Any, kits19: Path
) -> None:
    choose_model(desktop, kits19)
    segment(desktop)
    choose_segment(desktop, "kidney")
    before = scene.GetNumberOfNodes()
    desktop.ui.explainButton.click()
    desktop.wait(lambda: desktop.widget.logic.explainer.client.worker_pid and desktop.ui.progressBar.value > 0)
    os.kill(desktop.widget.logic.explainer.client.worker_pid, signal.SIGKILL)
    idle(desktop)
    assert "ended the computing process (signal 9)" in desktop.ui.statusLabel.text
    assert scene.GetNumberOfNodes() == before
    assert explain(desktop) is not None


def test_results_as_large_as_the_whole_ct_reach_the_scene_and_the_disk_without_a_standstill(
    desktop: Desktop, scene: Any, ct: Any, tmp_path: Path
) -> None:
    """Without the network, which would take minutes: only what the panel does with its results."""
    array, affine = ct.numpy()[0], ct.affine.numpy()
    node = add_volume(scene, array, affine, "CT")
    explainer = desktop.widget.logic.explainer
    kidney = Segment("kidney", 1, (0.7, 0.4, 0.3))
    labels = (array > 100).astype(np.uint8)
    signed = np.where(array > 300, array, 0).astype(np.float32)

    highest = np.unravel_index(np.argmax(signed), signed.shape)
    peak = tuple((affine @ [*highest, 1])[:3].tolist())

    def add_labels(image: Any) -> None:
        parameters.segmentation = add_segmentation(scene, image, affine, [kidney], node)

    def add_map(prepared: Any) -> None:
        facts = a_record("CAM", "kidney", minimum=float(signed.min()), peak_ras_mm=peak)
        parameters.heatmap = add_heatmap(scene, prepared, affine, facts, node, segmentation=parameters.segmentation)

    parameters = desktop.widget.panel.state.parameters
    desktop.calls.clear()
    desktop.widget.panel.state.work.ask(
        lambda **callbacks: explainer.compute(
            lambda: prepare_labels(labels, affine, [kidney]), add_labels, **callbacks
        ),
        lambda _nothing: None,
    )
    idle(desktop)
    desktop.widget.panel.state.work.ask(
        lambda **callbacks: explainer.compute(lambda: prepare_map(signed), add_map, **callbacks), lambda _nothing: None
    )
    idle(desktop)
    for act in (
        lambda: desktop.ui.opacitySlider.setValue(0.3),
        lambda: desktop.ui.thresholdSlider.setValue(0.4),
        desktop.ui.signedCheckBox.click,
        desktop.ui.overlayCheckBox.click,
    ):
        act()
    desktop.ui.overlayCheckBox.click()
    desktop.ui.renderingCheckBox.click()
    segmentation = parameters.segmentation
    desktop.wait(lambda: has_surfaces(segmentation), 300)
    surface = segmentation.GetSegmentation().GetSegment("kidney").GetRepresentation("Closed surface")
    assert surface.GetNumberOfPoints() > 1e5
    desktop.ui.folderButton.directory = str(tmp_path)
    desktop.ui.exportButton.click()
    idle(desktop)
    assert "overlay.png" in desktop.ui.statusLabel.text
    assert standstill(desktop) < STANDSTILL_S
