"""What scripts say to the module's logic, in Slicer's camelCase and plain values, as the records that the logic takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from SegHiResCAMLib.records.json_form import MalformedError, to_json
from SegHiResCAMLib.records.question import Question, options_of
from SegHiResCAMLib.records.regions import region_from_json
from SegHiResCAMLib.scene.errors import SceneError


def snake_case(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under the names that they have here: `onProgress` is `on_progress`, `refineWith` is `refine_with`."""
    return {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): value for name, value in options.items()}


def asked_by_script(segment: str, pixel_set: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Explainer.explain` beside volume and model.

    Args:
        segment: Of the model.
        pixel_set: None; the id of a drawn segment; or a region, as a record or in its JSON form, also with numbers of numpy.
        options: Fields of the question, and other arguments of `Explainer.explain`, in camelCase or not.

    Raises:
        SceneError: A value is not one that the option can have.
    """
    given = snake_case(options)
    if "reference_node" in given:
        given["reference"] = given.pop("reference_node")
    asked = {name: given.pop(name) for name in options_of(Question) if name in given}
    drawn = pixel_set if isinstance(pixel_set, str) else None
    try:
        if pixel_set is not None and drawn is None:
            asked["region"] = region_from_json(to_json(pixel_set), "pixelSet")
        return {"question": Question(segment=segment, **asked), "drawn_segment": drawn, **given}
    except MalformedError as problem:
        raise SceneError(f"{problem}.") from problem
