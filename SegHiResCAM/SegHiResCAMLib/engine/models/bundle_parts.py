"""Where a bundle says how volumes are prepared, cut into windows and finished.

'preprocessing', 'inferer' and 'postprocessing' are names by agreement. What MONAI runs is what the evaluator is given, under whatever name: so
where a name is absent, the evaluator is followed, then the kinds of the parts themselves. What is found more than once is not guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.transforms import array_name
from SegHiResCAMLib.engine.models.untrusted.resolver import Config, ConfigComponent, Unsupported

# From an evaluator, argument by argument, to each part.
_WAYS: dict[str, tuple[str, ...]] = {
    "preprocessing": ("val_data_loader", "dataset", "transform"),
    "inferer": ("inferer",),
    "postprocessing": ("postprocessing",),
}
_LOADS, _DECIDES = frozenset({"LoadImage"}), frozenset({"Activations", "AsDiscrete"})


def place_of(config: Config, part: str) -> str | None:
    """The identifier of a bundle's "preprocessing", "inferer" or "postprocessing", or None where there is none.

    Raises:
        EngineError: `bundle-ambiguous`, where there are several under other names; `bundle-expression`, where only code could tell.
    """
    if part in config:
        return part
    evaluators = _components(config, lambda name: name.endswith("Evaluator"))
    found = {place for one in evaluators if (place := _followed(config, one, _WAYS[part])) is not None}
    found = found or set(_by_kind(config, part))
    if len(found) > 1:
        raise EngineError(
            "bundle-ambiguous",
            f"'{config.file}' has no '{part}' but several parts that could be it: {', '.join(sorted(found))[:300]}. Rename the one that is "
            f"meant for inference to '{part}'.",
        )
    return next(iter(found), None)


def _followed(config: Config, component: ConfigComponent, way: tuple[str, ...]) -> str | None:
    """The place that arguments of arguments lead to."""
    value: Any = component
    where = component.where
    for argument in way:
        if not isinstance(value, ConfigComponent) or value.arguments.get(argument) is None:
            return None
        where, value = f"{value.where}::{argument}", value.arguments[argument]
    if isinstance(value, Unsupported):
        config.need(value)
    return value.where if isinstance(value, ConfigComponent) else where


def _by_kind(config: Config, part: str) -> Iterator[str]:
    if part == "inferer":
        yield from (one.where for one in _components(config, lambda name: name.endswith("Inferer")))
        return
    if part == "preprocessing":
        for one in _components(config, lambda name: name.endswith("Dataset")):
            place = _followed(config, one, ("transform",))
            if place is not None:
                yield place
    marks = _LOADS if part == "preprocessing" else _DECIDES
    for one in _components(config, lambda name: name == "Compose"):
        steps = one.arguments.get("transforms")
        parts = steps if isinstance(steps, list) else []
        if any(array_name(step) in marks for step in parts if isinstance(step, ConfigComponent)):
            yield one.where


def _components(config: Config, is_wanted: Callable[[str], bool]) -> list[ConfigComponent]:
    """What the configuration builds of the classes whose short names are wanted."""
    found = [config.resolve(where) for where, name in _targets(config.content) if is_wanted(name)]
    return [one for one in found if isinstance(one, ConfigComponent)]


def _targets(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Identifier and short class name of everything that names a class, in the order of the file."""
    left: list[tuple[str, Any]] = [("", content)]
    while left:
        where, node = left.pop()
        if isinstance(node, dict) and isinstance(node.get("_target_"), str) and where:
            yield where, node["_target_"].rpartition(".")[2]
        parts = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        left += [(f"{where}::{key}" if where else str(key), item) for key, item in reversed(list(parts))]
