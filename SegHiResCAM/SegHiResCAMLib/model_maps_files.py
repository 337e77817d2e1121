"""Runs a `ModelMapsJob`: files in, files out."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.evidence.several_models import ModelMaps, explain_models
from SegHiResCAMLib.engine.images.inputs import read_inputs_and_mask
from SegHiResCAMLib.engine.images.volume import write_volume
from SegHiResCAMLib.engine.models import SegmentationModel, open_model
from SegHiResCAMLib.engine.progress import Progress, part
from SegHiResCAMLib.explain_files import OpenScene
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.model_maps import ModelMapsJob, ModelMapsRecord
from SegHiResCAMLib.results import write_segmentation
from SegHiResCAMLib.writing.errors import check_space
from SegHiResCAMLib.writing.result import ResultFolder, refuse_other_result
from SegHiResCAMLib.writing.whole_file import write_text

MEAN, DEVIATION, DIFFERENCE = "mean.nrrd", "sd.nrrd", "difference.nrrd"
SEGMENTATION, RECORD, FIGURE = "segmentation.seg.nrrd", "models.json", "models.png"


def run_model_maps(
    job: ModelMapsJob, folder: Path, open_scene: OpenScene, progress: Progress
) -> tuple[ModelMapsRecord, list[Path]]:
    """Explain the same voxels by several models, and put everything into `folder`, whole or not at all.

    Args:
        job: What is read and asked.
        folder: For the result; it need not exist.
        open_scene: For the figure.
        progress: Told how far it is; may raise `Cancelled`.

    Raises:
        EngineError, SceneError, WritingError: Always with a message for the user.
    """
    refuse_other_result(folder)
    progress(0.0, "Reading")
    models = [open_model(one) for one in job.models]
    maps = [*map(_map_name, range(max(len(models), _maps_before(folder))))]
    names = [MEAN, DEVIATION, DIFFERENCE, SEGMENTATION, RECORD, FIGURE, *maps]
    read = [*job.volumes, *job.models, *(one.source for one in models), *([job.mask.path] if job.mask else [])]
    with closing(ResultFolder(folder, names, [Path(one) for one in read])) as result:
        request = _request(job, models[0], part(progress, 0.0, 0.05))
        check_space(result.folder, 4 * (len(models) + 3) * request.volume[0].numel())
        found = explain_models(request, models[1:], part(progress, 0.05, 0.9))
        progress(0.9, "Writing")
        _write(result, request, found, open_scene)
        written = result.put_in_place()
    for name in {DIFFERENCE, FIGURE, *maps} - {one.name for one in written}:
        (folder / name).unlink(missing_ok=True)  # that of an earlier answer
    return found.record, written


def _maps_before(folder: Path) -> int:
    """How many maps an earlier answer has left in the folder."""
    if not (folder / RECORD).is_file():
        return 0
    return next(number for number in count() if not (folder / _map_name(number)).is_file())


def _map_name(number: int) -> str:
    return f"map-{number + 1}.nrrd"


def _request(job: ModelMapsJob, model: SegmentationModel, progress: Progress) -> ExplainRequest:
    volume, drawn = read_inputs_and_mask(job.volumes, job.series, job.mask, progress)
    return ExplainRequest(volume, model, job.question, drawn)


def _write(result: ResultFolder, request: ExplainRequest, found: ModelMaps, open_scene: OpenScene) -> None:
    """All files, beside their places."""
    folder = result.beside
    for number, one in enumerate(found.explanations):
        write_volume(one.signed_map, folder / _map_name(number))
    write_volume(found.mean, folder / MEAN)
    write_volume(found.deviation, folder / DEVIATION)
    if found.difference is not None:
        write_volume(found.difference, folder / DIFFERENCE)
    write_segmentation(folder / SEGMENTATION, request.model, found.segmentation)
    with open_scene() as scene:
        if scene is not None:
            _draw(scene, folder / FIGURE, request, found)
    write_text(folder / RECORD, json.dumps(to_json(found.record), indent=2, allow_nan=False) + "\n")


def _draw(scene: Any, path: Path, request: ExplainRequest, found: ModelMaps) -> None:
    """The maps in one range of colours; then the difference of two, or mean and standard deviation of more."""
    from SegHiResCAMLib.scene.appearance import Appearance, apply_appearance
    from SegHiResCAMLib.scene.heatmap import add_heatmap
    from SegHiResCAMLib.scene.picture import comparison_picture
    from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_ids
    from SegHiResCAMLib.scene.volumes import add_volume

    affine = np.asarray(request.volume.affine, np.float64)
    volume = add_volume(scene, request.volume.numpy()[0], affine, "Volume")
    labels = request.model.labels
    segments = [Segment(one.name, one.value, one.color, one.terminology) for one in labels]
    drawn = add_segmentation(scene, found.segmentation.labels.numpy()[0], affine, segments, volume, name="Segmentation")
    shown = [(f"{number}: {one.model.name}", one.signed_map) for number, one in enumerate(found.explanations, start=1)]
    further = [("2 minus 1", found.difference)] if found.difference is not None else []
    further = further or [("mean", found.mean), ("standard deviation", found.deviation)]
    upper = max(*(float(one.max()) for _, one in shown), 1e-30)
    record, nodes = replace(found.explanations[0].record(), findings=()), []
    for title, values in [*shown, *further]:
        node = add_heatmap(scene, values.numpy()[0], affine, replace(record, method=title), volume)
        apply_appearance(node, Appearance(upper=upper, signed=title == "2 minus 1"))
        nodes.append(node)
    chosen = [segment_ids(drawn)[list(labels).index(found.explanations[0].label)]]
    comparison_picture(path, volume, nodes, drawn, segments=chosen)
