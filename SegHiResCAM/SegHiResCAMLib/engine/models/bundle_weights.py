"""Which of the files in a bundle's `models` folder has the weights: what the configuration says, wherever it says it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.untrusted.resolver import Config
from SegHiResCAMLib.engine.models.weights_matching import has_weights_name

_NETWORK = re.compile(r"@(network|network_def|net|net_def|model)\b")
_REFERENCE = re.compile(r"@\w+(?:(?:::|#)\w+)*")


@dataclass(frozen=True)
class BundleWeights:
    """Where the weights of a bundle's network are.

    Attributes:
        file: A checkpoint, or a TorchScript archive where there is nothing else.
        key: The name under which the checkpoint has them; empty where the configuration names none.
    """

    file: Path
    key: str = ""


def has_only_scripts(models: Path) -> bool:
    """Whether the only weights there are in TorchScript archives."""
    files = _files(models)
    return not any(has_weights_name(file) for file in files) and any(file.suffix.lower() == ".ts" for file in files)


def find_weights(models: Path, config: Config) -> BundleWeights:
    """The file with the weights of a bundle's network. Other folders than `models` are never looked into.

    In this order: the file that a checkpoint loader loads into the network; the one that `load_state_dict` is given; model.pt; the only one
    that is named anywhere in the configuration; the only one there. TorchScript archives hide their layers and come last.

    Raises:
        EngineError: `bundle-incomplete`, naming what there is.
    """
    files = _files(models)
    present = {file.name: file for file in files if has_weights_name(file)}
    loaders = list(_loaders(config, config.content, ()))
    for loader in loaders:
        if loader.name in present:
            return BundleWeights(present[loader.name], loader.key)
    texts = list(_texts(config.content))
    loading = [_spelt_out(text, config) for text in texts if "load_state_dict" in text]
    named_anywhere = [_spelt_out(text, config) for text in texts]
    for found in (_mentioned(loading, present), ["model.pt"], _mentioned(named_anywhere, present), list(present)):
        if len(found) == 1 and found[0] in present:
            return BundleWeights(present[found[0]])
    scripts = [file for file in files if file.suffix.lower() == ".ts"]
    if not present and len(scripts) == 1:
        return BundleWeights(scripts[0])
    wanted = next((loader.name for loader in loaders if loader.name), "model.pt")
    found_there = f"but {', '.join(sorted(present)[:5])}" if present else "and no other weights"
    raise EngineError(
        "bundle-incomplete",
        f"'{models}' has no {wanted} {found_there}. Put the model's weights there as '{wanted}'; MONAI's Model Zoo keeps them apart from "
        "the configuration, and 'python -m monai.bundle download' fetches both.",
    )


@dataclass(frozen=True)
class _Loader:
    """A checkpoint loader: the file's name, and the name in it of what goes into the network."""

    name: str
    key: str


def _files(models: Path) -> list[Path]:
    return sorted(file for file in models.glob("[!.]*") if file.is_file())


def _loaders(config: Config, node: Any, where: tuple[str, ...]) -> Iterator[_Loader]:
    """What has a `load_path`, in the configuration's order; whether it is switched off does not matter where nothing runs."""
    if isinstance(node, dict) and "load_path" in node:
        path = config.resolve("::".join((*where, "load_path")))
        fills = node["load_dict"] if isinstance(node.get("load_dict"), dict) else {}
        keys = [str(key) for key, value in fills.items() if _NETWORK.search(str(value))]
        if keys or not fills:
            yield _Loader(PurePosixPath(path).name if isinstance(path, str) else "", keys[0] if keys else "")
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield from _loaders(config, item, (*where, str(key)))


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _texts(item)


def _spelt_out(text: str, config: Config) -> str:
    """A text with what it refers to behind it, where that is a text, too."""
    values = (config.resolve(name[1:]) for name in _REFERENCE.findall(text)) if text.startswith(("$", "@")) else ()
    return " ".join([text, *(value for value in values if isinstance(value, str))])


def _mentioned(texts: list[str], present: dict[str, Path]) -> list[str]:
    return [
        name for name in present if any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) for text in texts)
    ]
