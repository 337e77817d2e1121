"""The main job on the sample patient: a network that has never seen it, and why it outlined the tumour."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.engine.inference.segmentation import segment
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.results import begin_result, check_room, write_explanation
from SegHiResCAMLib.sample_data import sample_volume

SEGMENT = "tumour"
METHODS = ("seg-hires-grad-cam", "seg-grad-cam")
VOLUME = "phantom.nrrd"


def run_demo(
    open_scene: Callable[[], AbstractContextManager[Any]], folder: Path, progress: Progress
) -> tuple[list[Path], list[Explanation]]:
    """Segment the sample patient, explain its tumour with both methods, and put everything into `folder`.

    Args:
        open_scene: Opens an empty scene for the pictures, or None where there can be none.
        folder: For the result; it need not exist.
        progress: Told how far it is.

    Returns:
        The files and the explanations.
    """
    source, place = sample_volume(), resource("Models", "kidney-phantom-3d")
    with closing(begin_result(folder, [SEGMENT], [source, place], more=[VOLUME])) as result:
        volume = read_volume(source)
        check_room(result, volume, len(METHODS))
        model = open_model(place)
        found = segment(model, volume, progress=part(progress, 0.1, 0.4))
        explanations = [
            explain(
                ExplainRequest.of(volume, model, SEGMENT, method=method),
                found,
                part(progress, 0.4 + 0.25 * number, 0.65 + 0.25 * number),
            )
            for number, method in enumerate(METHODS)
        ]
        progress(0.9, "Writing")
        shutil.copyfile(source, result.beside / VOLUME)
        with open_scene() as scene:
            write_explanation(scene, result.beside, volume, model, explanations)
        progress(0.99, "Putting the files in place")
        return result.put_in_place(), explanations
