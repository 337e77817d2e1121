"""The maps of several models of one case: folds of one training, or two checkpoints. How far do they agree?

All are asked about the same voxels, which the first model's answer decides, so that the maps differ by the models alone. Their mean and standard
deviation are those of an ensemble's members; of two, the difference says what changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import VERSIONS, ExplainRequest, Explanation
from SegHiResCAMLib.engine.answer.subject import refuse_empty
from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.evidence.probe import region_of
from SegHiResCAMLib.engine.inference.preprocessing import restore
from SegHiResCAMLib.engine.inference.segmentation import Segmentation
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.progress import Progress, part, silent
from SegHiResCAMLib.records.model_maps import ModelMap, ModelMapsRecord
from SegHiResCAMLib.records.regions import Mask


@dataclass(frozen=True)
class ModelMaps:
    """The answer; all maps (1, i, j, k) on the volume's own grid.

    Attributes:
        segmentation: Of the first model.
        explained: How much each voxel counts, for all models.
        explanations: One for each model.
        mean: Of their signed maps.
        deviation: Their standard deviation, as of a sample: divided by the number of models less one.
        difference: Of two models, the second signed map minus the first; None of more.
        record: The numbers.
    """

    segmentation: Segmentation
    explained: MetaTensor
    explanations: tuple[Explanation, ...]
    mean: MetaTensor
    deviation: MetaTensor
    difference: MetaTensor | None
    record: ModelMapsRecord


def explain_models(
    request: ExplainRequest, others: Sequence[SegmentationModel], progress: Progress = silent
) -> ModelMaps:
    """Explain the same voxels by several models.

    Args:
        request: Of the first model, whose segmentation decides which voxels are explained, if the region asks for one.
        others: Further models, at least one, which have the segment, and the layer where one is chosen.
        progress: Called between windows; may raise `Cancelled`.

    Raises:
        EngineError: `models-one`, or what a map cannot be made for.
    """
    if not others:
        raise EngineError("models-one", "There is a single model, so there is nothing to compare. Give a further one.")
    models = (request.model, *others)
    steps = 1 + len(models)
    segmentation = request.segmented(part(progress, 0.0, 1 / steps))
    explained = _explained_voxels(request, segmentation)
    # Batches are the same every time, so that rounding is, too, and models that are one have no spread at all.
    question = replace(request.question, region=Mask(), deterministic=True)
    asked = replace(request, mask=explained, question=question)
    found = []
    for number, model in enumerate(models, start=1):
        report = part(progress, number / steps, (number + 1) / steps)
        found.append(explain(replace(asked, model=model), progress=report, outline=False))
    maps = torch.stack([one.signed_map.as_tensor() for one in found])
    affine = request.volume.affine
    mean, deviation = (MetaTensor(one, affine=affine) for one in (maps.mean(dim=0), maps.std(dim=0)))
    difference = MetaTensor(maps[1] - maps[0], affine=affine) if len(models) == 2 else None
    record = _record(request, found, mean, deviation, difference)
    return ModelMaps(segmentation, explained, tuple(found), mean, deviation, difference, record)


def _explained_voxels(request: ExplainRequest, segmentation: Segmentation) -> MetaTensor:
    """How much each voxel of the volume counts (1, i, j, k): one map of weights for all models, whatever their grids."""
    if isinstance(request.region, Mask) and request.mask is not None:
        return request.mask
    label = request.model.label(request.question.segment)
    weights = region_of(request, label, segmentation)
    refuse_empty(request, label, weights)
    return restore(weights.to(torch.float32), segmentation.prepared, "nearest")


def _record(
    request: ExplainRequest,
    found: Sequence[Explanation],
    mean: MetaTensor,
    deviation: MetaTensor,
    difference: MetaTensor | None,
) -> ModelMapsRecord:
    first = found[0]
    return ModelMapsRecord(
        segment=first.label.name,
        region=request.region.title,
        method=first.method,
        units=first.units,
        models=tuple(
            ModelMap(one.model, one.layer.name, one.score, one.mean_probability, one.peak[0]) for one in found
        ),
        deviation=_ratio(deviation, mean),
        difference=None if difference is None else _ratio(difference, first.signed_map),
        versions=dict(VERSIONS),
    )


def _ratio(one: MetaTensor, other: MetaTensor) -> float | None:
    """Of two maps' norms."""
    above, below = (float(torch.linalg.vector_norm(values.as_tensor().double())) for values in (one, other))
    return above / below if below else None
