"""What every reader of model files returns, and all that the rest of the engine knows of a model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.window_settings import WindowSettings
from SegHiResCAMLib.records.models import Activation, Label


@dataclass
class SegmentationModel:
    """A network, and all that is needed to use it on a patient's volume.

    Attributes:
        name: For people.
        network: In eval mode, parameters frozen, on the CPU when it arrives; input (B, C, *spatial), output logits.
        spatial_dims: 2 (slice-wise) or 3 (volumetric).
        in_channels: C.
        labels: Background left out, ordered by value.
        activation: What turns logits into probabilities: "softmax" over all channels, or "sigmoid" of each.
        preprocessing: Dictionary transform (key "image") from the user's volume, a MetaTensor (C, i, j, k) with RAS affine
            in mm, to the model's own grid and intensities. Invertible transforms among it lead back.
        slice_preprocessing: For 2D networks that want each slice treated by itself (say, scaled by its own range):
            a transform of one slice (C, x, y), applied after `preprocessing`; None when there is none.
        window: The inferer's settings.
        background_channel: Of a "softmax" network that has a background.
        inputs: What each of the C input channels is ("T1", "FLAIR"; "R", "G", "B"), in order; empty when unknown.
        slice_axis: The axis of the model's own grid (0, 1 or 2) along which a 2D network's slices follow one another, where its
            description says so.
        layers_hidden: Why there is no looking into the network's layers, as a message; empty where there is.
        threshold: The probability above which a "sigmoid" channel is outlined.
        painted: Whether overlapping "sigmoid" labels are painted one over another in the order of their channels, the last one on top, as
            suits regions that hold one another (kidney with tumour, then tumour); otherwise the strongest one stands.
        largest_component: Labels keep only their largest connected component.
        spacing: Millimetres between positions along each axis of the network's input, where preprocessing ends on a fixed spacing; for a 2D
            network, of its axial slices.
        architecture: What its authors call the kind of network; empty for the name of its class.
        sha256: Of the weights file, lower-case hex.
        source: The path as the user gave it.
        licence: SPDX identifier or free text; empty when unknown.
        description: One or two sentences for people.
        weights_file: The name of the file that the weights came from, or the names, separated by commas.
        notes: Messages about what was decided while the model was opened, and about what it does without.
        metadata: Whatever else the model's description says, as read.
    """

    name: str
    network: torch.nn.Module
    spatial_dims: Literal[2, 3]
    in_channels: int
    labels: tuple[Label, ...]
    activation: Activation
    preprocessing: Any
    window: WindowSettings
    sha256: str
    source: str
    slice_preprocessing: Any | None = None
    background_channel: int = 0
    inputs: tuple[str, ...] = ()
    slice_axis: Literal[0, 1, 2] | None = None
    layers_hidden: str = ""
    threshold: float = 0.5
    painted: bool = False
    largest_component: bool = False
    spacing: tuple[float, ...] | None = None
    architecture: str = ""
    licence: str = ""
    description: str = ""
    weights_file: str = ""
    notes: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def threshold_logit(self) -> float:
        """The logit whose sigmoid is the threshold: ln(t / (1 - t)), 0 for one half."""
        return math.log(self.threshold / (1 - self.threshold))

    @property
    def background(self) -> int | None:
        """The output channel that stands for the background; None where the network has none."""
        labelled = any(label.channel == self.background_channel for label in self.labels)
        return self.background_channel if self.activation == "softmax" and not labelled else None

    def label(self, name: str) -> Label:
        """The label called `name`, whatever its case.

        Raises:
            EngineError: `segment-unknown`, naming those there are.
        """
        for label in self.labels:
            if label.name.casefold() == name.strip().casefold():
                return label
        known = ", ".join(label.name for label in self.labels)
        raise EngineError("segment-unknown", f"The model '{self.name}' has no segment '{name}'. It segments: {known}.")
