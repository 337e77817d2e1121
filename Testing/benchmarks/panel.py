"""How long the panel keeps a user waiting, on a real CT with a real network: every click, every standstill, every cancel.

    SEGHIRESCAM_TEST_DATA=... python Testing/benchmarks/panel.py [SLICES]

It runs the panel without 3D Slicer, with the real worker. A standstill is how long a slot kept the application, from the wall's clock and
from this thread's processor time; on a machine that does other things too, the latter is what the panel is to blame for.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from real_data import assemble_bundle, slab, unpack_kidney_ct
from rich.console import Console
from rich.table import Table

from SegHiResCAMLib.engine.volume import read_volume
from SegHiResCAMLib.scene.headless import headless_application

LIMIT_MS, CANCEL_S = 50, 2.0
MIDDLE = 64  # a slice with both kidneys


def main() -> None:
    slices = int(sys.argv[1]) if len(sys.argv) > 1 else 129
    table = Table("step", "seconds", "longest standstill, ms", "of it computing, ms", title=f"CT of {slices} slices")
    with tempfile.TemporaryDirectory() as folder:
        test_data = Path(os.environ["SEGHIRESCAM_TEST_DATA"])
        ct = read_volume(unpack_kidney_ct(test_data, Path(folder)) / "PATIENT_DICOM")
        model = assemble_bundle(test_data, Path(folder), "kits19-unet2d")
        ct = slab(ct, max(0, MIDDLE - slices // 2), min(129, MIDDLE + (slices + 1) // 2))
        with headless_application() as application:
            use_panel(application, ct, model, Path(folder), table)
    Console(width=110).print(table)


def use_panel(application: Any, ct: Any, model: Path, folder: Path, table: Table) -> None:
    from harness.desktop import panel_desktop
    from harness.views import main_window
    from panel.steps import choose, choose_model, choose_segment, explain, idle, segment, segments

    from SegHiResCAMLib.scene.picture import slice_picture
    from SegHiResCAMLib.scene.save import save_scene
    from SegHiResCAMLib.scene.volumes import add_volume

    with main_window(application), panel_desktop(application) as desktop:

        def step(name: str, act: Callable[[], Any]) -> Any:
            desktop.calls.clear()
            start = time.perf_counter()
            result = act()
            seconds = time.perf_counter() - start
            worst = max(desktop.calls, key=lambda call: call.seconds, default=None)
            computing = max((call.cpu for call in desktop.calls), default=0.0)
            waited = "" if worst is None else f"{1000 * worst.seconds:.0f}"
            table.add_row(name, f"{seconds:.2f}", waited, f"{1000 * computing:.0f}")
            return result

        ui, scene = desktop.ui, application.scene
        parameters = desktop.widget.panel.state.parameters
        volume = add_volume(scene, ct.numpy()[0], ct.affine.numpy(), "CT")
        step("choose the volume", lambda: ui.volumeSelector.setCurrentNode(volume))
        step("open the model", lambda: choose_model(desktop, model))
        step("cancel a segmentation", lambda: cancelled(desktop, ui.segmentButton, idle))
        segmentation = step("segment", lambda: segment(desktop))
        step("choose the segment", lambda: choose_segment(desktop, segments(desktop)[0]))
        idle(desktop)
        step("cancel an explanation", lambda: cancelled(desktop, ui.explainButton, idle))
        heatmap = step("explain", lambda: explain(desktop))
        choose(ui.methodSelector, "Seg-Grad CAM")
        step("explain by another method", lambda: explain(desktop))
        step("change the opacity", lambda: ui.opacitySlider.setValue(0.7))
        step("change the threshold", lambda: ui.thresholdSlider.setValue(0.3))
        step("show signs", ui.signedCheckBox.click)
        step("jump to the peak", ui.peakButton.click)
        step("every slice up to its own maximum", lambda: (choose(ui.normalisationSelector, "slice"), idle(desktop)))
        step("overlay picture", lambda: slice_picture(folder / "overlay.png", volume, heatmap, segmentation))
        step("scene bundle", lambda: save_scene(scene, folder / "scene.mrb"))
        parameters.overlayVisible = False


def cancelled(desktop: Any, button: Any, idle: Callable[..., None]) -> None:
    """Begin, let it run for a moment, press Cancel; the time is that from Cancel to the button's being back, plus the moment."""
    button.click()
    began = time.perf_counter()
    desktop.wait(lambda: time.perf_counter() - began > 1.0 or not desktop.widget.panel.state.work.name)
    pressed = time.perf_counter()
    button.click()
    idle(desktop)
    print(f"cancelled after {time.perf_counter() - pressed:.2f} s: {desktop.ui.statusLabel.text}", flush=True)


if __name__ == "__main__":
    main()
