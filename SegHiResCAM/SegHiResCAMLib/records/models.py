"""What is answered about a model: its labels, its layers, and the methods that can be applied to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from SegHiResCAMLib.records.question import OptionValue
from SegHiResCAMLib.terminology import Terminology

Activation = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Label:
    """One structure that a model segments.

    Attributes:
        name: As the model's own description has it.
        value: Its voxels' value in label maps; 0 is background.
        channel: The network's output channel that holds its logits.
        color: RGB, each 0 to 1.
        terminology: What it is in SNOMED CT, where known.
    """

    name: str
    value: int
    channel: int
    color: tuple[float, float, float]
    terminology: Terminology | None = None


@dataclass(frozen=True)
class Caveat:
    """Why a heat map at a layer says little or nothing.

    Attributes:
        code: A stable identifier in kebab-case, for programs; that of the finding that a map of the layer would carry.
        title: In a few words, for tables.
        message: For people.
    """

    code: str
    title: str
    message: str


@dataclass(frozen=True)
class LayerSummary:
    """What a module of the network returns.

    Attributes:
        name: Dotted path, as `network.named_modules()` has it; `name@1` is the first call of a module that is called several times, `name[1]`
            the second of the tensors that it returns.
        kind: Class name.
        channels: Of its output; 0 where it has none.
        grid: Feature-map locations along each axis of a window; empty where it has none.
        mm: Grid spacing along each axis; empty where it is not known.
        receptive_field: Voxels of the input that one location depends on along each axis; empty where it is not known.
        receptive_field_mm: The same in millimetres.
        is_block: Whether it is a building block of the network.
        reason: Why it cannot be explained; empty where it can.
        caveats: What limits a heat map at this layer.
        aliases: Other names of it.
        order: When its output is ready, counted over the forward pass; -1 where it cannot be explained.
    """

    name: str
    kind: str
    channels: int = 0
    grid: tuple[int, ...] = ()
    mm: tuple[float, ...] = ()
    receptive_field: tuple[int, ...] = ()
    receptive_field_mm: tuple[float, ...] = ()
    is_block: bool = False
    reason: str = ""
    caveats: tuple[Caveat, ...] = ()
    aliases: tuple[str, ...] = ()
    order: int = -1


@dataclass(frozen=True)
class LayerList:
    """The layers of a model, and the one to begin with.

    Attributes:
        layers: In the order of the network's modules.
        suggested: Name of one of them; empty where there is none.
        reason: Why that one, or why there is none.
    """

    layers: tuple[LayerSummary, ...] = ()
    suggested: str = ""
    reason: str = ""


@dataclass(frozen=True)
class MethodOption:
    """What can be set of a method.

    Attributes:
        name: Of the option.
        default: Its value where nothing is set.
        choices: The values that there are; empty for a number above 0.
        whole: Whether the number is a whole one.
        summary: What it sets, in a few words.
    """

    name: str
    default: OptionValue
    choices: tuple[OptionValue, ...]
    whole: bool
    summary: str


@dataclass(frozen=True)
class MethodSummary:
    """A CAM method.

    Attributes:
        identifier: For programs.
        title: As the field writes it.
        summary: What it computes, in one line.
        source: The paper or program it comes from.
        ignores_class: Whether it depends on activations alone, so that neither class nor contrast class has any influence.
        options: What can be set of it.
    """

    identifier: str
    title: str
    summary: str
    source: str = ""
    ignores_class: bool = False
    options: tuple[MethodOption, ...] = ()


@dataclass(frozen=True)
class ModelSummary:
    """What a model is.

    Attributes:
        name: For people.
        description: One or two sentences for people.
        source: The path as the user gave it.
        format: Which reader opened it.
        network: Class name.
        parameters: How many weights.
        spatial_dims: 2 (slice-wise) or 3 (volumetric).
        in_channels: Images that it takes.
        inputs: What each of them is ("T1", "FLAIR"); empty when unknown.
        activation: What turns logits into probabilities.
        labels: What it segments.
        has_background: Whether background is an output of its own, so that a segment can be contrasted with it.
        orientation: Axis codes of its grid; empty where it keeps the volume's own.
        spacing_mm: Of its grid; empty where it keeps the volume's own.
        preprocessing: Steps, as class names.
        intensities: What is done to intensities, in words.
        window: Size in voxels, None along an axis for all of the image; empty for the whole image.
        overlap: Share of a window that its neighbour covers too, for all axes or one for each; empty without windows.
        multiple: Of what every axis of the network's input must be.
        largest_component: Whether labels keep only their largest connected component.
        layers_hidden: Why its layers cannot be explained; empty where they can.
        licence: SPDX identifier or free text; empty when unknown.
        sha256: Of the weights file.
        weights_file: Its name, or the names of several.
        notes: Messages about what was decided while the model was opened.
    """

    name: str
    spatial_dims: int
    in_channels: int
    labels: tuple[Label, ...]
    activation: Activation
    sha256: str
    description: str = ""
    source: str = ""
    format: str = ""
    network: str = ""
    parameters: int = 0
    inputs: tuple[str, ...] = ()
    has_background: bool = False
    orientation: str = ""
    spacing_mm: tuple[float, ...] = ()
    preprocessing: tuple[str, ...] = ()
    intensities: tuple[str, ...] = ()
    window: tuple[int | None, ...] = ()
    overlap: tuple[float, ...] = ()
    multiple: int = 1
    largest_component: bool = False
    layers_hidden: str = ""
    licence: str = ""
    weights_file: str = ""
    notes: tuple[str, ...] = ()
