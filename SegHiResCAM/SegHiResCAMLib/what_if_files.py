"""Runs a `WhatIfJob`: files in, files out."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.what_if import WhatIf, what_if
from SegHiResCAMLib.engine.images.inputs import read_inputs_and_mask
from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.explain_files import OpenScene
from SegHiResCAMLib.records.evidence import WhatIfRecord
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.what_if_job import WhatIfJob
from SegHiResCAMLib.results import write_segmentation
from SegHiResCAMLib.writing.errors import check_space
from SegHiResCAMLib.writing.result import ResultFolder, refuse_other_result
from SegHiResCAMLib.writing.whole_file import write_text

EDITED, REMOVED = "edited.nrrd", "removed.nrrd"
BEFORE, AFTER = "before.seg.nrrd", "after.seg.nrrd"
RECORD, FIGURE = "what-if.json", "what-if.png"


def run_what_if(
    job: WhatIfJob, folder: Path, open_scene: OpenScene, progress: Progress
) -> tuple[WhatIfRecord, list[Path]]:
    """Remove a region, segment again, and put everything into `folder`, whole or not at all.

    Args:
        job: What is read and asked.
        folder: For the result; it need not exist.
        open_scene: For the figure.
        progress: Told how far it is; may raise `Cancelled`.

    Raises:
        EngineError, SceneError, WritingError: Always with a message for the user.
    """
    if job.question.region is None and job.mask is None:
        raise EngineError(
            "region-missing", "Nothing was chosen to be removed. Choose a region with --region, or voxels with --mask."
        )
    refuse_other_result(folder)
    progress(0.0, "Reading")
    model = open_model(job.model)
    names = [EDITED, REMOVED, BEFORE, AFTER, RECORD, FIGURE]
    inputs = [*job.volumes, job.model, model.source, *([job.mask.path] if job.mask else [])]
    with closing(ResultFolder(folder, names, [Path(one) for one in inputs])) as result:
        request = _request(job, model, part(progress, 0.0, 0.05))
        check_space(result.folder, 8 * request.volume.numel())
        found = what_if(request, job.fill, seed=job.seed, progress=part(progress, 0.05, 0.9))
        progress(0.9, "Writing")
        _write(result, request, found, open_scene)
        written = result.put_in_place()
    if FIGURE not in {one.name for one in written}:
        (folder / FIGURE).unlink(missing_ok=True)  # that of an earlier answer
    return found.record, written


def _request(job: WhatIfJob, model: SegmentationModel, progress: Progress) -> ExplainRequest:
    volume, drawn = read_inputs_and_mask(job.volumes, job.series, job.mask, progress)
    label = model.label(job.question.segment) if job.question.segment else model.labels[0]
    return ExplainRequest(volume, model, replace(job.question, segment=label.name), drawn)


def _write(result: ResultFolder, request: ExplainRequest, found: WhatIf, open_scene: OpenScene) -> None:
    """All files, beside their places."""
    folder, model = result.beside, request.model
    write_volume(found.edited, folder / EDITED)
    write_volume(found.removed, folder / REMOVED)
    write_segmentation(folder / BEFORE, model, found.before)
    write_segmentation(folder / AFTER, model, found.after)
    with open_scene() as scene:
        if scene is not None:
            _draw(scene, folder / FIGURE, request, found)
    write_text(folder / RECORD, json.dumps(to_json(found.record), indent=2, allow_nan=False) + "\n")


def _draw(scene: Any, path: Path, request: ExplainRequest, found: WhatIf) -> None:
    from SegHiResCAMLib.scene.segments import Segment, add_segmentation
    from SegHiResCAMLib.scene.volumes import add_volume
    from SegHiResCAMLib.scene.what_if_picture import Shown, what_if_picture

    segments = [Segment(one.name, one.value, one.color, one.terminology) for one in request.model.labels]
    states = []
    for title, volume, labels in (
        ("As it is", request.volume, found.before.labels),
        ("Without it", found.edited, found.after.labels),
    ):
        affine = np.asarray(volume.affine, np.float64)
        node = add_volume(scene, volume.numpy()[0], affine, title)
        drawn = add_segmentation(scene, labels.numpy()[0], affine, segments, node, name=title)
        states.append(Shown(title, node, drawn))
    what_if_picture(path, states, _middle(found.removed), found.record)


def _middle(removed: MetaTensor) -> np.ndarray:
    """The removed voxel that is nearest to the centroid of all, in RAS millimetres."""
    affine = np.asarray(removed.affine, np.float64)
    places = np.argwhere(removed.numpy()[0] > 0) @ affine[:3, :3].T + affine[:3, 3]
    nearest: np.ndarray = places[int(np.linalg.norm(places - places.mean(axis=0), axis=1).argmin())]
    return nearest
