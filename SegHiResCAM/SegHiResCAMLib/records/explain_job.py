"""One run of `explain`: what is read and what is asked, as paths and options, so that the run can be repeated, keyed and sent elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from SegHiResCAMLib.records.question import Question

EVERY = "all"
"""Stands for every method among those that are compared with."""

OWN_REGIONS = "model"
"""Stands for the model's own segmentation where a file of regions can be given; a file of this name is given with its folder."""


@dataclass(frozen=True, kw_only=True)
class MaskFile:
    """A file of the voxels to explain, and how it is read.

    Attributes:
        path: Of the file.
        value: Of a mask with several labels, the one to explain.
        segment: Of a segmentation file of several segments, the one to explain.
        weighted: The values say how much each voxel counts.
    """

    path: str
    value: int | None = None
    segment: str | None = None
    weighted: bool = False


@dataclass(frozen=True, kw_only=True)
class ExplainJob:
    """Everything that `explain` is given, but where its results go.

    Attributes:
        volumes: Paths, one for each of the model's inputs, in the model's order.
        model: File, folder or catalogue name.
        segments: Names; `question` is asked of each. The first is the question's own.
        question: What is asked.
        mask: Voxels to explain in place of the predicted segment.
        compare: Further methods, by name; `EVERY` for all that suit the layer.
        regions: A file of regions over which the maps are measured, or `OWN_REGIONS`; None for no measuring.
        reference: A file of what should have been segmented, to compare with; None for none.
        check: Whether the maps are checked.
        input_shares: Whether the score is divided among the model's input images.
        seed: Of every draw of a check, and of the tissue that stands for an image that is left out.
        series: SeriesInstanceUID, where the volume's folder holds several.
        nifti: Whether heat map and label map are written as NIfTI, too.
        html: Whether a page for the browser is written for each segment.
        dicom: The folder of the series into whose study DICOM objects are written; None for none.
    """

    volumes: tuple[str, ...]
    model: str
    segments: tuple[str, ...]
    question: Question
    mask: MaskFile | None = None
    compare: tuple[str, ...] = ()
    regions: str | None = None
    reference: str | None = None
    check: bool = False
    input_shares: bool = False
    seed: int = 0
    series: str | None = None
    nifti: bool = False
    html: bool = False
    dicom: str | None = None
