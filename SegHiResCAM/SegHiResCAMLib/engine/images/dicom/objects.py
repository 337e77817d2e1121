"""What a picture archive is given: a heat map as Parametric Map, outlines as Segmentation, fused pictures as Secondary Capture.

A Parametric Map (DICOM PS3.3 A.75) holds the raw numbers; 3D Slicer, OHIF and research archives read it, many clinical viewers do not. The pictures are
what every viewer shows: the image in grey, the map in the colours of "Hot Iron" over it, as PET is shown. highdicom writes all three and copies patient
and study from the source images; nothing else here knows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.spatial import get_normal_vector
from pydicom import Dataset
from pydicom.pixels import apply_color_lut
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode
from pydicom.uid import ExplicitVRLittleEndian

from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.models import Label
from SegHiResCAMLib.records.wording import lines_of
from SegHiResCAMLib.terminology import ANATOMY, Code

FloatArray = npt.NDArray[np.float32]

MAKER = "SegHiResCAM"
CLASS_ACTIVATION = DicomCode("CAM", "99SEGHIRESCAM", "Class activation")
WHOLE_BODY = Code("SCT", "38266002", "Entire body")
RESEARCH = "research use, not for diagnosis"
HEATMAP_SERIES, SEGMENTATION_SERIES, PICTURE_SERIES = 9701, 9702, 9703
LOWER_FRACTION, OPACITY = 0.15, 0.5
"""Of pictures: what lies under that fraction of the maximum shows the image alone."""


@dataclass(frozen=True)
class Made:
    """How a heat map was made, in the lengths that DICOM allows.

    Attributes:
        record: Of the heat map.
    """

    record: ExplanationRecord

    @property
    def title(self) -> str:
        """For example "Seg-HiRes-Grad CAM, tumour"."""
        return _short(f"{self.record.method}, {self.record.question.segment}")

    @cached_property
    def equipment(self) -> dict[str, Any]:
        """The attributes of the equipment module: the network stands for the device."""
        return {
            "manufacturer": MAKER,
            "manufacturer_model_name": _short(self.record.model.name or "unknown network"),
            "software_versions": _short(
                ", ".join(f"{name} {version}" for name, version in self.record.versions.items())
            ),
            "device_serial_number": _short(self.record.model.sha256 or "unknown"),
        }

    @property
    def comment(self) -> str:
        """Everything, a line each; DICOM's LT holds 10240 characters."""
        return "\n".join([f"For {RESEARCH}.", *lines_of(self.record)])[:10240]


def parametric_map(
    values: FloatArray, images: Sequence[Dataset], made: Made, region: Code | None = None
) -> hd.pm.ParametricMap:
    """The raw heat map, float32, one frame a source image.

    Args:
        values: (frame, row, column) in the map's units.
        images: The source images' headers, or that of the one multi-frame image, in the order of the frames.
        made: How.
        region: The body region, or None for the whole body.
    """
    top = max(float(values.max()), float(np.finfo(np.float32).tiny))
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="HEATMAP",
        lut_explanation=_short(f"{made.title}, {made.record.units}"),
        unit=codes.UCUM.NoUnits,
        value_range=(float(values.min()), top),
        slope=1.0,
        intercept=0.0,
        quantity_definition=CLASS_ACTIVATION,
    )
    written = hd.pm.ParametricMap(
        source_images=images,
        pixel_array=values,
        series_instance_uid=hd.UID(),
        series_number=HEATMAP_SERIES,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        window_center=top / 2,  # highdicom 0.28 would rather have VOI LUTs, which 0.27 of 3D Slicer 5.12 does not know
        window_width=top,
        content_label="HEATMAP",
        content_description=made.title,
        series_description=_short(f"{made.title}, {RESEARCH}"),
        **made.equipment,
    )
    written.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_anatomy(region or WHOLE_BODY)]
    written.ImageComments = made.comment
    _ascend(written)
    return written


def segmentation(
    labels: npt.NDArray[np.integer[Any]], segments: Sequence[Label], images: Sequence[Dataset], made: Made
) -> hd.seg.Segmentation:
    """The outlines, with their names, codes and colours; frames without any are left out.

    Args:
        labels: (frame, row, column), values as those of `segments`.
        segments: What they are called.
        images: The source images' headers, in the order of the frames.
        made: How.
    """
    numbers = np.zeros(labels.shape, np.uint8)
    for number, segment in enumerate(segments, start=1):
        numbers[labels == segment.value] = number
    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=numbers,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(number, one, made) for number, one in enumerate(segments, start=1)],
        series_instance_uid=hd.UID(),
        series_number=SEGMENTATION_SERIES,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        content_label="SEGMENTATION",
        content_description=_short(f"Segmentation by {made.record.model.name or 'a network'}"),
        series_description=_short(f"Segmentation by {made.record.model.name or 'a network'}, {RESEARCH}"),
        **made.equipment,
    )


def fused_picture(
    image: FloatArray,
    heatmap: FloatArray,
    top: float,
    header: Dataset,
    axes: tuple[str, str],
    series_uid: str,
    number: int,
    made: Made,
) -> hd.sc.SCImage:
    """One slice as every viewer shows it: the map over the image, in its place in the patient.

    Args:
        image: (row, column), 0 (black) to 1 (white).
        heatmap: (row, column).
        top: The map's maximum over the volume, which has the brightest colour.
        header: The source image's.
        axes: Where rows and columns lead: of L, R, A, P, H and F.
        series_uid: Of the pictures.
        number: Of this picture.
        made: How.
    """
    grey = np.repeat(np.clip(image, 0, 1)[..., None] * 255, 3, axis=-1)
    share = np.clip(heatmap / top, 0, 1)
    color = apply_color_lut((share * 255).round().astype(np.uint8), palette="HOT_IRON").astype(np.float32)
    shown = (share >= LOWER_FRACTION)[..., None] * OPACITY
    picture = hd.sc.SCImage.from_ref_dataset(
        header,
        pixel_array=((1 - shown) * grey + shown * color).round().astype(np.uint8),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=axes,
        series_instance_uid=series_uid,
        series_number=PICTURE_SERIES,
        sop_instance_uid=hd.UID(),
        instance_number=number,
        manufacturer=MAKER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=_short(f"{made.title}, {RESEARCH}"),
    )
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        picture[keyword] = header[keyword]
    picture.ImageComments = made.comment
    return picture


def _description(number: int, label: Label, made: Made) -> hd.seg.SegmentDescription:
    known = label.terminology
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=_short(label.name),
        segmented_property_category=_coded(known.category if known else ANATOMY),
        segmented_property_type=_coded(known.type if known else Code("SCT", "85756007", "Tissue")),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=made.equipment["manufacturer_model_name"],
            family=codes.DCM.ArtificialIntelligence,
            version=made.equipment["device_serial_number"],
        ),
        anatomic_regions=[_coded(known.region)] if known and known.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*(round(255 * part) for part in label.color)),
    )


def _ascend(written: Dataset) -> None:
    """Sort frames along the normal: dcmqi 1.5, which 3D Slicer reads with, takes them so whatever their positions say."""
    shared, frames = written.SharedFunctionalGroupsSequence[0], list(written.PerFrameFunctionalGroupsSequence)
    normal = get_normal_vector(shared.PlaneOrientationSequence[0].ImageOrientationPatient)
    order = np.argsort([np.dot(normal, frame.PlanePositionSequence[0].ImagePositionPatient) for frame in frames])
    values = np.frombuffer(written.FloatPixelData, np.float32).reshape(len(frames), -1)
    written.FloatPixelData = values[order].tobytes()
    written.PerFrameFunctionalGroupsSequence = [frames[index] for index in order]


def _anatomy(region: Code) -> Dataset:
    """dcmqi, and so 3D Slicer, cannot read a Parametric Map without it."""
    anatomy = Dataset()
    anatomy.FrameLaterality = "U"
    anatomy.AnatomicRegionSequence = [_coded(region)]
    return anatomy


def _coded(code: Code) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=_short(code.meaning))


def _short(text: str) -> str:
    """DICOM's LO: 64 characters, no backslash."""
    return text.replace("\\", "/")[:64]
