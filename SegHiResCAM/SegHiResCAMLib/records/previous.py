"""Heat maps of version 1: attributes of nodes, header fields and `explanation.json` files that had texts where records are now.

What such a text does not say is left at its default; what cannot be read is taken for not said. Nothing here raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from SegHiResCAMLib.records.explanation import (
    LOGIT_UNITS,
    ExplanationRecord,
    Finding,
    MapLayer,
    Measurements,
    ModelReference,
)
from SegHiResCAMLib.records.json_form import MalformedError, from_json
from SegHiResCAMLib.records.question import Question
from SegHiResCAMLib.records.regions import Mask, Region, region_from_json


def record_of_texts(texts: Mapping[str, str]) -> ExplanationRecord:
    """From the attributes of a node, or the fields of a header, without their prefix.

    Args:
        texts: "method", "segment", "model", "peakRas", "diagnoses" and so on.
    """
    return record_of_facts({"provenance": texts})


def record_of_facts(facts: Mapping[str, Any]) -> ExplanationRecord:
    """From an `explanation.json` without a version, of the command or of the panel."""
    provenance = facts.get("provenance")
    texts = {str(key): str(value) for key, value in provenance.items()} if isinstance(provenance, Mapping) else {}
    facts = {**_numbers(texts), **facts}
    layer = facts.get("layer")
    return ExplanationRecord(
        question=_question(texts),
        model=ModelReference(texts.get("model", ""), texts.get("modelSha256", "")),
        method=texts.get("method", ""),
        region=texts.get("pixelSet", ""),
        mode=texts.get("mode", ""),
        units=texts.get("units", LOGIT_UNITS),
        layer=_layer(texts.get("layer", ""), layer if isinstance(layer, Mapping) else {}),
        score=_float(facts.get("score")),
        mean_probability=_float(facts.get("mean_probability")),
        voxel_count=int(_float(facts.get("pixel_count")) or 0),
        maximum=_float(facts.get("maximum")) or 0.0,
        minimum=_float(facts.get("minimum")) or 0.0,
        peak_ras_mm=_point(facts.get("peak_ras_mm")),
        measurements=_measurements(facts.get("measurements")),
        windows=int(_float(facts.get("windows")) or 0),
        windows_touched=int(_float(facts.get("windows_touched")) or 0),
        findings=_findings(facts.get("diagnoses")),
        versions={name: texts[name] for name in ("torch", "monai") if name in texts},
        compared_with=_compared(facts.get("compared_with")),
    )


def _numbers(texts: Mapping[str, str]) -> dict[str, Any]:
    """What the command's file has as numbers, where a node and the panel's file have texts."""
    return {
        "score": _number(texts.get("score")),
        "mean_probability": _number(texts.get("meanProbability")),
        "pixel_count": _number(texts.get("pixelCount")),
        "maximum": _number(texts.get("maximum")),
        "minimum": _number(texts.get("minimum")),
        "peak_ras_mm": [_number(one) for one in texts.get("peakRas", "").split()],
        "diagnoses": _json(texts.get("diagnoses")),
        "measurements": _json(texts.get("measurements")),
    }


def _question(texts: Mapping[str, str]) -> Question:
    against = re.fullmatch(r"rather\s+than\s+(.*?)(?:,\s+weight\s+(\S*))?", texts.get("contrast", ""))
    contrast, weight = against.groups() if against else ("", "")
    refine, _, layers = texts.get("refinedBy", "").partition(" with ")
    options = _json(texts.get("methodOptions"))
    told: dict[str, Any] = {
        "segment": texts.get("segment", ""),
        "method": texts.get("methodId", ""),
        "layer": texts.get("layer") or None,
        "region": _region(texts),
        "contrast": contrast or None,
        "precision": texts.get("precision", "full"),
        "method_options": options if isinstance(options, Mapping) else {},
    }
    if weight:
        told["contrast_weight"] = _number(weight)
    if layers:
        told |= {"refine": refine, "refine_with": tuple(layers.split(", "))}
    try:
        return Question(**told)
    except (MalformedError, TypeError):
        return Question(segment=texts.get("segment", ""))


def _region(texts: Mapping[str, str]) -> Region | None:
    with suppress(MalformedError):
        return region_from_json(_json(texts.get("pixelSetJson")))
    return Mask() if texts.get("pixelSet") == Mask.title else None


def _layer(name: str, facts: Mapping[str, Any]) -> MapLayer:
    told: dict[str, Any] = {"kind": "", "channels": 0, "grid": [], "mm": [], "reason": ""}
    with suppress(MalformedError):
        return from_json(MapLayer, told | {"name": name} | dict(facts))
    return from_json(MapLayer, told | {"name": name})


def _measurements(facts: Any) -> Measurements | None:
    with suppress(MalformedError):
        return from_json(Measurements, facts) if facts else None
    return None


def _findings(listed: Any) -> tuple[Finding, ...]:
    """Messages, or objects of a code and a message."""
    found = []
    for one in listed if isinstance(listed, list) else []:
        code, message = (one.get("code"), one.get("sentence")) if isinstance(one, Mapping) else ("", one)
        if isinstance(message, str):
            found.append(Finding(str(code or ""), message))
    return tuple(found)


def _compared(listed: Any) -> tuple[ExplanationRecord, ...]:
    return tuple(record_of_facts(one) for one in listed if isinstance(one, Mapping)) if isinstance(listed, list) else ()


def _point(numbers: Any) -> tuple[float, float, float]:
    found = [_float(one) for one in numbers] if isinstance(numbers, list) else []
    return (found[0], found[1], found[2]) if len(found) == 3 and None not in found else (0.0, 0.0, 0.0)  # type: ignore[return-value]


def _float(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else _float(float(text))
    except ValueError:
        return None


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
