"""Under which names a heat map's record is kept with it, in the header of an NRRD file and in the attributes of a node.

Slicer's NRRD reader makes attributes of header fields, so a file that is opened there is a heat map again.
"""

from __future__ import annotations

from dataclasses import replace

from SegHiResCAMLib.records.explanation import ExplanationRecord
from SegHiResCAMLib.records.files import explanation_line

PREFIX = "SegHiResCAM."
METHOD = f"{PREFIX}method"
"""What has this is a heat map."""

EXPLANATION = f"{PREFIX}explanation"
"""The record as JSON, on one line."""


def header_of(record: ExplanationRecord) -> dict[str, str]:
    """The fields of a file's header: the record, and for people without this program the most important of it.

    Without seconds, which differ from run to run: the same map is the same file, byte for byte.
    """
    return {
        METHOD: record.method,
        f"{PREFIX}segment": record.question.segment,
        f"{PREFIX}layer": record.layer.name,
        f"{PREFIX}model": record.model.name,
        EXPLANATION: explanation_line(replace(record, timings_s={})),
    }
