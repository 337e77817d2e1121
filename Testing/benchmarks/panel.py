"""How long the panel keeps a user waiting, on a real CT with a real network: every click, every standstill, every cancel.

    SEGHIRESCAM_TEST_DATA=... python Testing/benchmarks/panel.py [SLICES] [MODEL]

It runs the panel without 3D Slicer, with the real worker, on the whole CT or on so many slices of it, with the KiTS19 network or another model. A standstill is how long a slot, or one
turn of the event loop, kept the application, less the time in which other programs had the processor
or the garbage collector walked through what the engine holds in this one process; computing is this thread's share.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from measure import machine, megabytes_of
from real_data import assemble_bundle, slab, unpack_kidney_ct
from table import Table

from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.scene.headless import headless_application

LIMIT_MS, CANCEL_S = 50, 2.0
MIDDLE = 64  # a slice with both kidneys
SLIDES = 40  # values that a slider takes as it is dragged


def main() -> None:
    slices = int(sys.argv[1]) if len(sys.argv) > 1 else 129
    with tempfile.TemporaryDirectory() as folder:
        test_data = Path(os.environ["SEGHIRESCAM_TEST_DATA"])
        ct = read_volume(unpack_kidney_ct(test_data, Path(folder)) / "PATIENT_DICOM")
        model = Path(sys.argv[2]) if len(sys.argv) > 2 else assemble_bundle(test_data, Path(folder), "kits19-unet2d")
        ct = slab(ct, max(0, MIDDLE - slices // 2), min(129, MIDDLE + (slices + 1) // 2))
        size = " x ".join(map(str, ct.shape[1:]))
        print(f"{date.today():%d %B %Y}, {machine()}; a CT of {size}, model {model.name}\n", flush=True)
        with headless_application() as application, opened_panel(application) as desktop:
            session = Session(application, desktop, ct, model, Path(folder))
            for chapter in (
                session.begin,
                session.cancel,
                session.explain,
                session.read,
                session.export,
                session.reopen,
            ):
                chapter()
    for table in (session.steps, session.cancels):
        print(f"\n{table}")


@contextmanager
def opened_panel(application: Any) -> Iterator[Any]:
    from harness.desktop import panel_desktop
    from harness.views import main_window

    with main_window(application), panel_desktop(application) as desktop:
        yield desktop


class Session:
    """Somebody who uses the panel, and what it made them wait."""

    def __init__(self, application: Any, desktop: Any, ct: Any, model: Path, folder: Path) -> None:
        from SegHiResCAMLib.scene.volumes import add_volume

        self.desktop, self.ui, self.scene, self.model, self.folder = (
            desktop,
            desktop.ui,
            application.scene,
            model,
            folder,
        )
        self.views = application.slice_logics
        self.panel = desktop.widget.panel
        self.explainer = desktop.widget.logic.explainer
        self.jobs = heard(self.explainer, "explain")
        for name in ("_follow", "_scene_changed"):  # what the scene's own events make the panel do
            timed(self.panel, name, desktop)
        self.steps = Table("Steps", ["step", "seconds", "longest standstill, ms", "of it computing, ms"])
        self.cancels = Table(
            "Cancelling", ["while", "seconds until the panel is free", "seconds until nothing computes"]
        )
        voxels = ct.numpy()[0].astype(np.int16)  # as 3D Slicer loads a CT
        self.volume = add_volume(self.scene, voxels, ct.affine.numpy(), "CT")

    @property
    def parameters(self) -> Any:
        return self.panel.state.parameters

    def begin(self) -> None:
        from panel.steps import choose_model, choose_segment, segment, segments

        self.step("choose the volume", lambda: self.ui.volumeSelector.setCurrentNode(self.volume))
        self.cancel_within("the model is opened and the process starts", self.open_without_waiting, 0.5)
        self.parameters.modelPath = Path()
        self.step("open the model", lambda: choose_model(self.desktop, self.model))
        self.cancel_within("the volume is sent to the process", self.ui.segmentButton.click, 0.0)
        self.cancel_within("it segments", self.ui.segmentButton.click, 8.0)
        self.step("segment", lambda: segment(self.desktop))
        self.step("choose the segment", lambda: choose_segment(self.desktop, segments(self.desktop)[0]))
        self.step("its layers on the volume's grid", self.idle)

    def cancel(self) -> None:
        self.cancel_within("it explains", self.ui.explainButton.click, 8.0)

    def explain(self) -> None:
        from panel.steps import choose, explain

        self.heatmap = self.step("explain", lambda: explain(self.desktop))
        self.step("explain again, until the process says what it does", self.first_words)
        self.panel.state.work.cancel()
        self.idle()
        choose(self.ui.methodSelector, "Seg-Grad CAM")
        self.second = self.step("explain by another method", lambda: explain(self.desktop))
        reused = self.jobs[-1].reused
        assert {"model", "volume"} <= set(reused), reused
        worker = self.explainer.client.worker_pid
        assert worker is not None
        print(f"the process that computes: {megabytes_of(worker):.0f} MB at most", flush=True)
        self.step("choose the other heat map", lambda: self.ui.heatmapSelector.setCurrentNode(self.heatmap))

    def read(self) -> None:
        from panel.steps import choose

        ui = self.ui
        self.step("drag the opacity", lambda: self.drag(ui.opacitySlider))
        self.step("drag the threshold", lambda: self.drag(ui.thresholdSlider))
        self.step(
            "drag the threshold, three views rendered each time", lambda: self.drag(ui.thresholdSlider, draw=True)
        )
        self.step("colours", lambda: choose(ui.colorSelector, "Viridis"))
        self.step("signed on", ui.signedCheckBox.click)
        self.step("drag the threshold, signed", lambda: self.drag(ui.thresholdSlider))
        self.step("signed off", ui.signedCheckBox.click)
        self.step("interpolation and legend", lambda: (ui.interpolateCheckBox.click(), ui.legendCheckBox.click()))
        self.step("jump to the peak", ui.peakButton.click)
        self.step("range: slice", lambda: (choose(ui.normalisationSelector, "slice"), self.idle()))
        self.step("range: raw", lambda: choose(ui.normalisationSelector, "raw"))
        self.step("range: volume", lambda: choose(ui.normalisationSelector, "volume"))
        self.step("in 3D, on and off", lambda: (ui.renderingCheckBox.click(), ui.renderingCheckBox.click()))
        ui.secondSelector.setCurrentNode(self.second)
        for often in ("the first time, when MRML creates the views", "again"):
            self.step(
                f"side by side on and off, {often}",
                lambda: (ui.compareCheckBox.click(), self.turn(), ui.compareCheckBox.click()),
            )
        self.step("overlay off and on", lambda: (ui.overlayCheckBox.click(), ui.overlayCheckBox.click()))
        for pixel_set in ("island", "whole image", "whole segment"):
            self.step(f"explain what: {pixel_set}", lambda chosen=pixel_set: choose(ui.pixelSetSelector, chosen))
        self.step("a segment is edited, its volume counted", lambda: (self.edit(), self.idle()))
        choose(ui.pixelSetSelector, "segment as drawn")
        self.step("explain the segment as drawn (started, cancelled)", lambda: self.begin_and_cancel(ui.explainButton))
        self.step(
            "the same, drawn on another grid", lambda: (self.on_another_grid(), self.begin_and_cancel(ui.explainButton))
        )

    def export(self) -> None:
        from panel.steps import choose

        self.ui.folderButton.directory = str(self.folder / "out")
        for file_format in ("nrrd", "nii.gz"):
            choose(self.ui.formatSelector, file_format)
            self.step(f"export as {file_format}", lambda: (self.ui.exportButton.click(), self.idle()))
            print(self.ui.statusLabel.text, flush=True)
        self.cancel_within("it exports", self.ui.exportButton.click, 0.1)

    def reopen(self) -> None:
        from SegHiResCAMLib.scene.save import save_scene

        bundle = self.folder / "scene.mrb"
        self.step("save the scene (3D Slicer's own code)", lambda: save_scene(self.scene, bundle))
        print(f"scene.mrb: {bundle.stat().st_size / 2**20:.0f} MiB", flush=True)
        self.step("close the scene", lambda: self.scene.Clear(0))
        self.step("open it again", lambda: (self.scene.ReadFromMRB(str(bundle)), self.idle()))
        assert self.parameters.heatmap is not None
        self.parameters.overlayVisible = False

    # How it is done and measured

    def step(self, name: str, act: Callable[[], Any]) -> Any:
        self.desktop.calls.clear()
        start = time.perf_counter()
        result = act()
        seconds = time.perf_counter() - start
        self.turn()
        calls = self.desktop.calls
        waited = max((max(call.cpu, call.own) for call in calls), default=0.0)
        computed = max((call.cpu for call in calls), default=0.0)
        longest = f"{1000 * waited:.0f}"
        self.steps.add(
            name, f"{seconds:.2f}", longest if 1000 * waited <= LIMIT_MS else f"**{longest}**", f"{1000 * computed:.0f}"
        )
        print(self.steps.rows[-1], flush=True)
        assert not self.desktop.errors, self.desktop.errors
        return result

    def cancel_within(self, moment: str, begin: Callable[[], Any], after: float) -> None:
        """Begin, let it run for a moment, and press Cancel."""
        begin()
        began = time.perf_counter()
        self.desktop.wait(lambda: time.perf_counter() - began >= after)
        assert self.panel.state.work.name, self.ui.statusLabel.text
        pressed = time.perf_counter()
        self.panel.state.work.cancel()
        free = time.perf_counter() - pressed
        assert self.ui.statusLabel.text == "Cancelled.", self.ui.statusLabel.text
        self.idle()
        quiet = time.perf_counter() - pressed
        self.cancels.add(
            f"{moment}, after {after:g} s", f"{free:.2f}", f"{quiet:.2f}" if quiet <= CANCEL_S else f"**{quiet:.2f}**"
        )
        print(self.cancels.rows[-1], flush=True)

    def first_words(self) -> None:
        self.ui.explainButton.click()
        clicked = self.ui.statusLabel.text
        self.desktop.wait(lambda: self.ui.statusLabel.text not in (clicked, "Starting"))

    def open_without_waiting(self) -> None:
        self.parameters.modelPath = self.model

    def begin_and_cancel(self, button: Any) -> None:
        button.click()
        assert self.panel.state.work.name, self.ui.reasonLabel.text
        button.click()
        self.idle()

    def drag(self, slider: Any, *, draw: bool = False) -> None:
        for value in np.linspace(0.1, 0.9, SLIDES):
            slider.setValue(float(value))
            if draw:
                self.draw_views()

    def draw_views(self) -> None:
        """What MRML computes for three slice views, without OpenGL."""
        for logic in self.views.values():
            connection = logic.GetImageDataConnection()
            if connection is not None:
                connection.GetProducer().Update()

    def edit(self) -> None:
        """As the Segment Editor does: voxels of the shared label map change, and the segmentation says so."""
        segmentation = self.parameters.segmentation.GetSegmentation()
        image = segmentation.GetNthSegment(0).GetRepresentation("Binary labelmap")
        image.Modified()
        self.parameters.parameterNode.Modified()

    def on_another_grid(self) -> None:
        from panel.steps import choose, choose_segment

        from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array
        from SegHiResCAMLib.scene.volumes import volume_array

        name = self.parameters.segmentId
        mask, affine = segment_array(self.parameters.segmentation, name, self.volume), volume_array(self.volume)[1]
        moved = affine @ np.array([[1, 0, 0, 0.5], [0, 1, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1]])
        own = add_segmentation(self.scene, mask.astype(np.uint8), moved, [Segment(name, 1, (1, 0, 0))], self.volume)
        self.ui.segmentationSelector.setCurrentNode(own)
        choose_segment(self.desktop, name)
        self.idle()
        choose(self.ui.pixelSetSelector, "segment as drawn")
        self.desktop.calls.clear()

    def turn(self) -> None:
        self.desktop.turn()

    def idle(self) -> None:
        from panel.steps import idle

        idle(self.desktop)


def heard(owner: Any, name: str) -> list[Any]:
    """What a method returns from now on."""
    returned: list[Any] = []
    method = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        returned.append(method(*arguments, **options))
        return returned[-1]

    setattr(owner, name, call)
    return returned


def timed(owner: Any, name: str, desktop: Any) -> None:
    """Count calls of a method among those of slots."""
    method = getattr(owner, name)
    watched = desktop.qt._watched(name, method)
    setattr(owner, name, watched)


if __name__ == "__main__":
    main()
