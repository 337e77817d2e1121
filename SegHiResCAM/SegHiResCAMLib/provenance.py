"""How a heat map came to be, as the text that files and nodes keep beside it; the standard library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

PREFIX = "SegHiResCAM."
"""Of the fields of an NRRD header and of the attributes of a node: Slicer's NRRD reader makes node attributes of header fields."""


def node_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """What is kept with a heat map of its explanation, whose facts are given as `Explanation.as_dict` has them.

    The provenance, the numbers that make maps comparable, and as "diagnoses", a JSON list of sentences, what to know before believing
    the map.
    """
    return {
        **facts["provenance"],
        "score": repr(facts["score"]),
        "maximum": repr(facts["maximum"]),
        "minimum": repr(facts["minimum"]),
        "peakRas": " ".join(f"{coordinate:.3f}" for coordinate in facts["peak_ras_mm"]),
        "pixelCount": str(facts["pixel_count"]),
        "meanProbability": repr(facts.get("mean_probability")),
        "diagnoses": json.dumps([one["sentence"] for one in facts["diagnoses"]], ensure_ascii=False),
    }
