"""The main job on an embedded example: an unseen phantom patient, the network trained on others, and why it outlined the tumour."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import numpy as np

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, segment
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.phantom import Phantom, phantom
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.results import begin_result, check_room, write_explanation

SEED = 9001
"""Far from the seeds of training and evaluation, so that the network has never seen this patient."""

SEGMENT = "tumour"
METHODS = ("seg-hires-grad-cam", "seg-grad-cam")
VOLUME = "phantom.nrrd"


def run_demo(
    open_scene: Callable[[], AbstractContextManager[Any]], folder: Path, progress: Progress
) -> tuple[list[Path], list[Explanation], dict[str, float]]:
    """Segment a phantom, explain its tumour with both methods, and put everything into `folder`.

    Args:
        open_scene: Opens an empty scene for the pictures, or None where there can be none.
        folder: For the result; it need not exist.
        progress: Told how far it is.

    Returns:
        The files, the explanations, and the Dice of each segment against the phantom's truth.
    """
    with closing(begin_result(folder, [SEGMENT], [resource("Models", "kidney-phantom-3d")], more=[VOLUME])) as result:
        progress(0.0, "Making a phantom patient")
        patient = phantom(SEED, tumours=1, cysts=1)
        check_room(result, patient.volume, len(METHODS))
        model = open_model(resource("Models", "kidney-phantom-3d"))
        found = segment(model, patient.volume, progress=part(progress, 0.1, 0.4))
        explanations = [
            explain(
                ExplainRequest.of(patient.volume, model, SEGMENT, method=method),
                found,
                part(progress, 0.4 + 0.25 * number, 0.65 + 0.25 * number),
            )
            for number, method in enumerate(METHODS)
        ]
        progress(0.9, "Writing")
        write_volume(patient.volume, result.beside / VOLUME)
        with open_scene() as scene:
            write_explanation(scene, result.beside, patient.volume, model, explanations)
        progress(0.99, "Putting the files in place")
        return result.put_in_place(), explanations, _dice(model, found, patient)


def _dice(model: SegmentationModel, found: Segmentation, patient: Phantom) -> dict[str, float]:
    scores = {}
    for label in model.labels:
        ours, truth = found.labels.numpy() == label.value, patient.labels.numpy() == label.value
        if truth.any():
            scores[label.name] = float(2 * np.sum(ours & truth) / (np.sum(ours) + np.sum(truth)))
    return scores
