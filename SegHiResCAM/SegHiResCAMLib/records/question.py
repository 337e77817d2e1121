"""What can be asked: one record of options, from which the command's flags, the worker's request and the panel's parameters follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from SegHiResCAMLib.records.json_form import MalformedError
from SegHiResCAMLib.records.regions import Region

Mode = Literal["auto", "slice-wise", "volumetric"]
Axis = Literal["auto", "axial", "coronal", "sagittal"]
Device = Literal["auto", "cuda", "mps", "cpu"]
Engine = Literal["auto", "torch", "openvino"]
Precision = Literal["full", "mixed"]
Combination = Literal["product", "mean"]

OptionValue = str | int | float | bool
"""Of an option of a method."""

WHAT, HOW, WHERE = "What is explained", "Method and layer", "Computing"
"""Groups of options in the command's help."""


def _option(default: Any, summary: str, group: str, limits: tuple[float, float] | None = None) -> Any:
    """A field with what a form needs to offer it; a dictionary is made anew for each record."""
    about = {"summary": summary, "group": group, "limits": limits}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=about)
    return field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class SegmentOptions:
    """How a model segments a volume."""

    mode: Mode = _option("auto", "slice-wise for 2D networks, volumetric for 3D networks; auto chooses.", WHERE)
    axis: Axis = _option(
        "auto",
        "Orientation of the slices in the patient, for 2D networks; auto: as the model's description says, otherwise axial.",
        WHERE,
    )
    device: Device = _option("auto", "Where to compute; auto: the GPU if there is one.", WHERE)
    engine: Engine = _option(
        "auto",
        "What segments on a CPU; auto: OpenVINO where it is installed, agrees with PyTorch and is worth it, otherwise PyTorch.",
        WHERE,
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, kw_only=True)
class Question(SegmentOptions):
    """Why did the network segment this? Everything that can be asked beside the volume, the model and a mask.

    Attributes:
        segment: Name of one of the model's labels.
        region: Which voxels are explained; None takes the mask where there is one, else the predicted segment.
        method_options: Of the method, by name, as `Method.options` lists them.
        layer: Dotted name of a layer; None for the suggested one.
        contrast: A segment, or "background", whose logits are subtracted: why this class and not that one? None for none.
    """

    segment: str
    method: str = _option("seg-hires-grad-cam", "The CAM method; 'methods' lists them.", HOW)
    method_options: Mapping[str, OptionValue] = _option({}, "An option of the method, as 'methods' lists them.", HOW)
    layer: str | None = _option(None, "The layer to explain at; 'layers' lists them. Default: a suggested one.", HOW)
    refine_with: tuple[str, ...] = _option((), "A further layer, whose map is combined with the first one's.", HOW)
    refine: Combination = _option(
        "product",
        "How the maps of several layers are combined: product keeps what all of them show, mean what any of them does.",
        HOW,
    )
    region: Region | None = _option(None, "Which voxels are explained.", WHAT)
    contrast: str | None = _option(
        None, "Contrast with this segment, or 'background': why this class and not that one?", WHAT
    )
    contrast_weight: float = _option(1.0, "How much the contrast class counts.", WHAT, (0.0, 10.0))
    score_explained: bool = _option(
        False,
        "Measure which share of the score the map's sum explains, at the cost of up to two forward passes; integrated maps always do.",
        HOW,
    )
    smooth: int = _option(
        0,
        "Average the map over so many copies of the image with noise, and give its standard deviation, too; 0 for none.",
        HOW,
        (0, 100),
    )
    smooth_noise: float = _option(
        0.1,
        "Standard deviation of this noise, as a share of the image's range (1st to 99th percentile).",
        HOW,
        (0.001, 1.0),
    )
    smooth_seed: int = _option(0, "The same noise every time; another number gives other noise.", HOW, (0, 1_000_000))
    precision: Precision = _option(
        "full",
        "mixed: a faster preview, whose map differs a little. On a GPU by short numbers, on a CPU by OpenVINO where it agrees on some windows.",
        WHERE,
    )
    deterministic: bool = _option(
        False, "The same numbers bit for bit every time on this machine; may be slower.", WHERE
    )

    @property
    def segmenting_engine(self) -> Engine:
        """`engine`, but PyTorch where numbers are to be the same every time: which one is worth it depends on what was asked before."""
        return "torch" if self.deterministic else self.engine


def check_options(record: Any) -> None:
    """Refuse what is not among a field's choices, and numbers outside its limits.

    Raises:
        MalformedError: Which field, and what it can be.
    """
    hints = get_type_hints(type(record))
    for one in fields(record):
        limits, value = one.metadata.get("limits"), getattr(record, one.name)
        choices = get_args(hints[one.name]) if get_origin(hints[one.name]) is Literal else ()
        if choices and value not in choices:
            raise MalformedError(one.name, f"must be {' or '.join(map(repr, choices))}, not {value!r}")
        if limits is not None and not limits[0] <= value <= limits[1]:
            raise MalformedError(one.name, f"must be from {limits[0]:g} to {limits[1]:g}, not {value:g}")


def options_of(record: type[Any]) -> dict[str, Field[Any]]:
    """The fields that a form offers, by name, in their order."""
    return {one.name: one for one in fields(record) if "summary" in one.metadata}
