"""What travels through every room: the question (`ExplainRequest`) and the answer (`Explanation`)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from SegHiResCAMLib.engine.answer.diagnoses import Diagnosis
from SegHiResCAMLib.engine.answer.measurements import Measurements
from SegHiResCAMLib.engine.answer.pixel_sets import Mask, PixelSet, PredictedSegment
from SegHiResCAMLib.engine.cam.layers import Layer
from SegHiResCAMLib.engine.cam.refine import Combination
from SegHiResCAMLib.engine.inference.device import DeviceName, Precision
from SegHiResCAMLib.engine.inference.segmentation import Segmentation
from SegHiResCAMLib.engine.inference.slicing import Axis, Mode
from SegHiResCAMLib.engine.models.model import Label, SegmentationModel


@dataclass(frozen=True)
class ExplainRequest:
    """Why did `model` segment `segment` in `volume`?

    Attributes:
        volume: (C, i, j, k) with RAS affine in mm, from `read_volume`.
        model: From `open_model`.
        segment: Name of one of the model's labels.
        method: Identifier of a method.
        layer: Dotted name of a layer, or None for the suggested one.
        mode: "auto", "slice-wise" or "volumetric".
        axis: Of slices, for 2D networks.
        device: "auto", "cuda", "mps" or "cpu".
        mask: Voxels to explain (1, i, j, k) in any geometry, 0 and 1 or how much each one counts.
        pixel_set: Which positions are explained; None takes the mask where there is one, else what the model predicts.
        method_options: Of the method, by name, as `Method.options` lists them.
        contrast: The contrast class, a segment or "background": why this one and not that one? None for none.
        contrast_weight: How much the contrast class counts.
        refine_with: Further layers, whose maps are combined with that of `layer`.
        refine: How they are combined: their "product" or their "mean".
        precision: "full", or "mixed": convolutions in a shorter type of numbers, faster on GPUs, for a preview. The map then
            differs a little (0.3 % of its maximum, measured with bfloat16 on a kidney network). The segmentation is always computed in full
            precision.
        deterministic: Whether the same request gives the same numbers bit for bit every time, on one machine. That may take longer.
    """

    volume: MetaTensor
    model: SegmentationModel
    segment: str
    method: str = "seg-hires-grad-cam"
    layer: str | None = None
    mode: Mode = "auto"
    axis: Axis = "auto"
    device: DeviceName = "auto"
    mask: MetaTensor | None = None
    pixel_set: PixelSet | None = None
    method_options: Mapping[str, Any] = field(default_factory=dict)
    contrast: str | None = None
    contrast_weight: float = 1.0
    refine_with: tuple[str, ...] = ()
    refine: Combination = "product"
    precision: Precision = "full"
    deterministic: bool = False

    @property
    def explained(self) -> PixelSet:
        """The pixel set, chosen or by default."""
        return self.pixel_set or (PredictedSegment() if self.mask is None else Mask())


@dataclass(frozen=True)
class Explanation:
    """The answer.

    Attributes:
        signed_map: Raw map before ReLU (1, i, j, k), float32, on the volume's own grid, in the units that the provenance names.
        segmentation: The model's; None where the pixel set did not need it and nobody asked for it.
        label: The label explained.
        score: S, the sum of the label's logits over the pixel set.
        mean_probability: Of the label over the pixel set, in the network's blended prediction, 0 to 1; None for an empty set.
        pixel_count: Positions of the pixel set on the model's grid.
        layer: The layer explained.
        layer_reason: Why that layer.
        window_grid: Positions of the layer's map along each axis of one window.
        windows: Windows of the whole volume.
        windows_touched: Windows that the pixel set touches.
        timings: Seconds of each step.
        provenance: What is needed to do it again: model, SHA-256, method, layer, pixel set, versions. Nothing of the patient.
        diagnoses: What to know before believing the map, the gravest first.
        measurements: Where the heat map lies, in and around the explained voxels.
        chosen: The explained voxels (1, i, j, k), uint8, on the volume's own grid, where they are not simply the predicted segment.
    """

    signed_map: MetaTensor
    segmentation: Segmentation | None
    label: Label
    score: float
    mean_probability: float | None
    pixel_count: int
    layer: Layer
    layer_reason: str
    window_grid: tuple[int, ...]
    windows: int
    windows_touched: int
    measurements: Measurements
    timings: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    diagnoses: tuple[Diagnosis, ...] = ()
    chosen: MetaTensor | None = None

    @property
    def explained_voxels(self) -> torch.Tensor:
        """What was explained, on the volume's own grid: (1, i, j, k), boolean."""
        return voxels_of(self.chosen, self.segmentation, self.label, self.signed_map)

    @property
    def heatmap(self) -> MetaTensor:
        """ReLU of the signed map: the positive evidence for the segment, raw, in the units that the provenance names."""
        return self.signed_map.clamp(min=0)

    @property
    def peak(self) -> tuple[float, tuple[float, float, float]]:
        """The heat map's highest value and where it is, in RAS millimetres."""
        values = self.signed_map.as_tensor()[0]
        index = np.unravel_index(int(values.argmax()), tuple(values.shape))
        position = self.signed_map.affine.numpy() @ np.array([*index, 1.0])
        return float(torch.clamp(values[index], min=0)), (float(position[0]), float(position[1]), float(position[2]))

    def as_dict(self) -> dict[str, Any]:
        """The facts without the arrays, ready for JSON."""
        maximum, position = self.peak
        return {
            "segment": self.label.name,
            "method": self.provenance["methodId"],
            "score": self.score if math.isfinite(self.score) else None,  # JSON knows no other numbers
            "mean_probability": self.mean_probability,
            "pixel_count": self.pixel_count,
            "maximum": maximum,
            "minimum": float(self.signed_map.min()),
            "peak_ras_mm": list(position),
            "measurements": self.measurements.as_dict(),
            "layer": {
                "name": self.layer.name,
                "kind": self.layer.kind,
                "channels": self.layer.channels,
                "grid": list(self.window_grid),
                "mm": list(self.layer.mm),
                "reason": self.layer_reason,
            },
            "windows": self.windows,
            "windows_touched": self.windows_touched,
            "timings_s": self.timings,
            "provenance": self.provenance,
            "diagnoses": [{"code": one.code, "sentence": one.sentence} for one in self.diagnoses],
        }


def voxels_of(
    chosen: MetaTensor | None, segmentation: Segmentation | None, label: Label, signed_map: MetaTensor
) -> torch.Tensor:
    """See `Explanation.explained_voxels`."""
    if chosen is not None:
        return chosen.as_tensor() > 0
    if segmentation is None:
        return torch.zeros(signed_map.shape, dtype=torch.bool)
    return segmentation.labels.as_tensor() == label.value
