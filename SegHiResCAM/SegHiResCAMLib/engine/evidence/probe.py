"""What a check measures on: the explained region's part of the volume, the windows that it touches, and the map there, on the model's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.explanation import ExplainRequest, Explanation
from SegHiResCAMLib.engine.answer.model_layers import model_layers, stack_spacing
from SegHiResCAMLib.engine.answer.pixel_sets import Surroundings, weights_of
from SegHiResCAMLib.engine.answer.subject import target_of
from SegHiResCAMLib.engine.cam.layers import Layer, attention_layers, layer_named
from SegHiResCAMLib.engine.cam.leaf import true_name
from SegHiResCAMLib.engine.cam.methods import Method, find_method
from SegHiResCAMLib.engine.cam.passes import ScoreQuestion
from SegHiResCAMLib.engine.cam.positions import Placement, measure_placement
from SegHiResCAMLib.engine.cam.refine import together
from SegHiResCAMLib.engine.cam.stitched import stitched_maps
from SegHiResCAMLib.engine.evidence.changed_windows import forward_of
from SegHiResCAMLib.engine.evidence.counted_passes import CountedPasses
from SegHiResCAMLib.engine.images.resampling import resample_onto
from SegHiResCAMLib.engine.inference.device import choose_device
from SegHiResCAMLib.engine.inference.engine_choice import Forward
from SegHiResCAMLib.engine.inference.fitting import windows_of
from SegHiResCAMLib.engine.inference.memory import Workplace
from SegHiResCAMLib.engine.inference.preprocessing import PreparedVolume
from SegHiResCAMLib.engine.inference.segmentation import Segmentation, predict_values
from SegHiResCAMLib.engine.inference.slicing import from_stack, per_image, slice_axis, to_stack
from SegHiResCAMLib.engine.inference.windows import Box, Windows, at
from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.progress import Progress, silent
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.question import Axis

MARGIN = 3
"""Positions around the segment that count, too, when a segmentation is compared with it."""

AT_LEAST = 20
"""Passes without a gradient that a check makes, as a rule."""

SLICES = 8
"""Of a slice-wise network, how many of the region's slices are checked."""


@dataclass
class Probe:
    """Everything that a check needs again and again.

    Attributes:
        request: What was asked of the map.
        label: Of the segment.
        prepared: The volume on the model's grid.
        axis: Of slices.
        slices: Those that are checked, as indices on the model's grid; None for a volumetric network.
        slices_explained: How many the region has.
        image: (C, x, y, z): the volume on the model's grid, or the checked slices of it.
        stack: The same as the network takes it: (B, C, *spatial).
        region: (x, y, z) on the model's whole grid: how much each position counts.
        pixel_set: (B, *spatial): the region on the stack.
        windows: How each image is cut.
        layers: Of the map.
        method: Of the map.
        placements: Where the positions of each layer lie.
        workplace: Where maps are computed.
        forward: What computes passes without a gradient.
        counted: Windows that were computed.
    """

    request: ExplainRequest
    label: Label
    prepared: PreparedVolume
    axis: Axis
    slices: tuple[int, ...] | None
    slices_explained: int
    image: MetaTensor
    stack: torch.Tensor
    region: torch.Tensor
    pixel_set: torch.Tensor
    windows: Windows
    layers: list[Layer]
    all_layers: list[Layer]
    method: Method
    placements: list[Placement]
    workplace: Workplace
    forward: Forward
    counted: CountedPasses

    @property
    def model(self) -> SegmentationModel:
        """Whose map it is."""
        return self.request.model

    @property
    def box(self) -> Box:
        """The region's bounding box on the stack and some positions around it."""
        places = self.pixel_set.nonzero()[:, 1:]
        return tuple(
            slice(max(int(low) - MARGIN, 0), min(int(high) + MARGIN + 1, length))
            for low, high, length in zip(places.amin(0), places.amax(0), self.pixel_set.shape[1:], strict=True)
        )

    @property
    def touched(self) -> int:
        """Windows that the box touches, in all images."""
        return len(self.stack) * len(self._touched_sources())

    @property
    def domain(self) -> Box:
        """What these windows cover, as one box of the stack."""
        return tuple(
            slice(min(one.start for one in along), max(one.stop for one in along))
            for along in zip(*self._touched_sources(), strict=True)
        )

    @property
    def passes(self) -> float:
        """How often the touched windows were computed so far; a tail that runs again counts as its share of a pass."""
        return self.counted.windows / self.touched

    def _touched_sources(self) -> list[Box]:
        sources = (self.windows.source(box) for box in self.windows.boxes)
        return [
            source
            for source in sources
            if all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in zip(source, self.box, strict=True))
        ]

    def select(self, image: MetaTensor) -> MetaTensor:
        """The checked slices of a volume (C, x, y, z) on the model's grid."""
        if self.slices is None:
            return image
        axis = slice_axis(image, self.axis) + 1
        return MetaTensor(image.as_tensor().index_select(axis, torch.tensor(self.slices)), meta=dict(image.meta))

    def stack_of(self, values: torch.Tensor) -> torch.Tensor:
        """What the network takes of other values of `image`."""
        return to_stack(self.model, MetaTensor(values, meta=dict(self.image.meta)), self.axis)

    def on_image(self, values: torch.Tensor) -> torch.Tensor:
        """Values (B, *spatial) on the stack, as (x, y, z) of `image`."""
        return from_stack(self.model, self.image, self.axis, values)

    def signed_map(self, stack: torch.Tensor, progress: Progress = silent) -> torch.Tensor:
        """The map (B, *spatial) that the method makes of other images."""
        question = self.request.question
        asked = [ScoreQuestion(target_of(self.request, self.label), self.pixel_set)]
        names = [layer.name for layer in self.layers]
        (maps,) = stitched_maps(
            self.workplace,
            stack,
            asked,
            names,
            self.method,
            self.windows,
            progress=progress,
            placements=self.placements,
        )
        return together([one.values for one in maps], question)

    def on_stack(self, volume: MetaTensor) -> torch.Tensor:
        """Values (1, i, j, k) on the volume's own grid as the stack has them: (B, *spatial)."""
        values = resample_onto(volume, self.prepared.image, "linear")
        found = per_image(self.model, self.prepared.image, self.axis, values)
        return found if self.slices is None else found[list(self.slices)]

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Of windows (B, C, *window), by what computes passes without a gradient."""
        if self.forward.network is not self.model.network:  # which counts by itself
            self.counted.add(len(inputs))
        return self.forward.network(inputs)


def probe_of(request: ExplainRequest, explanation: Explanation, segmentation: Segmentation, seed: int) -> Probe:
    """Set up the check of a map.

    Args:
        request: Its model, volume, mask and reference.
        explanation: The map; its question stands in for the request's.
        segmentation: Of the same model and volume.
        seed: Of the choice of slices.
    """
    request = ExplainRequest(request.volume, request.model, explanation.question, request.mask, request.reference)
    model, prepared, axis = request.model, segmentation.prepared, segmentation.axis
    region = region_of(request, explanation.label, segmentation)
    chosen, count = _slices(model, prepared.image, axis, region, seed)
    image = prepared.image
    stack_region = per_image(model, prepared.image, axis, region)
    if chosen is not None:
        own = slice_axis(image, axis) + 1
        image = MetaTensor(image.as_tensor().index_select(own, torch.tensor(chosen)), meta=dict(image.meta))
        stack_region = stack_region[list(chosen)]
    stack = to_stack(model, image, axis)
    windows = windows_of(model, tuple(stack.shape[2:]))
    known = model_layers(model, windows, stack_spacing(model, prepared, axis))
    layers = _layers(explanation, model, known)
    device = choose_device(request.question.device, model.spatial_dims)
    workplace = Workplace(model.network.to(device), device, None)
    return Probe(
        request=request,
        label=explanation.label,
        prepared=prepared,
        axis=axis,
        slices=chosen,
        slices_explained=count,
        image=image,
        stack=stack,
        region=region,
        pixel_set=stack_region,
        windows=windows,
        layers=layers,
        all_layers=known,
        method=_method(explanation),
        placements=[
            measure_placement(model.network, one.name, model.in_channels, windows.size, one.grid) for one in layers
        ],
        workplace=workplace,
        forward=forward_of(model, device, stack, windows, AT_LEAST * len(stack), request.question.segmenting_engine),
        counted=CountedPasses(model.network),
    )


def _method(explanation: Explanation) -> Method:
    """That of the map; an integrated one takes as many steps as the map did, lest maps of other weights take many times as many."""
    options = dict(explanation.question.method_options)
    if explanation.path_integral is not None and explanation.path_integral.steps:
        options["steps"] = explanation.path_integral.steps
    return find_method(explanation.question.method).with_options(options)


def _layers(explanation: Explanation, model: SegmentationModel, known: list[Layer]) -> list[Layer]:
    """Those of the map."""
    question = explanation.question
    if question.layer is None and find_method(question.method).of_attention:
        return attention_layers(known, model.name)
    names = [explanation.layer.name, *question.refine_with]
    return [layer_named(known, true_name(model.network, name)) for name in names]


def region_of(request: ExplainRequest, label: Label, segmentation: Segmentation) -> torch.Tensor:
    """How much each location of the model's grid counts, (x, y, z), where the segmentation is there already."""
    around = Surroundings(
        request.model,
        label,
        segmentation.prepared,
        lambda: segmentation.model_labels,
        request.mask,
        lambda rule: predict_values(
            request.model,
            segmentation.prepared,
            rule,
            axis=segmentation.axis,
            device=request.question.device,
            engine="torch",  # which computes what is compared with it
            progress=silent,
        ),
        request.reference,
    )
    return weights_of(request.region, around)


def _slices(
    model: SegmentationModel, image: MetaTensor, axis: Axis, region: torch.Tensor, seed: int
) -> tuple[tuple[int, ...] | None, int]:
    """Slices spread evenly over those of the region, from a random start; None for a volumetric network. And how many there are."""
    if model.spatial_dims == 3:
        return None, 0
    there = per_image(model, image, axis, region).flatten(1).any(dim=1).nonzero()[:, 0].numpy()
    if len(there) <= SLICES:
        return tuple(int(one) for one in there), len(there)
    start = np.random.default_rng(seed).random()
    steps = ((np.arange(SLICES) + start) * len(there) / SLICES).astype(int)
    return tuple(int(one) for one in there[steps]), len(there)


def in_domain(values: torch.Tensor, domain: Box) -> np.ndarray:
    """The part of values (B, *spatial) in a box, as an array."""
    return values[at(slice(None), *domain)].cpu().numpy()
