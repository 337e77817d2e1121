"""Which networks a description may name, and how they are built from it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import monai
import monai.networks.nets
import torch
from torch.overrides import TorchFunctionMode

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.models.authors_unet import AuthorsUNet
from SegHiResCAMLib.engine.models.untrusted.checkpoint import check_fit, load_weights
from SegHiResCAMLib.engine.models.untrusted.resolver import Component

# Segmentation networks of MONAI that answer an image (B, C, *spatial) with logits on the same grid.
NETWORKS = frozenset({
    "AttentionUnet", "BasicUNet", "BasicUnet", "Basicunet", "DynUNet", "DynUnet", "Dynunet", "FlexUNet", "FlexibleUNet", "HighResNet",
    "MedNeXt", "MedNeXtBase", "MedNeXtLarge", "MedNeXtMedium", "MedNeXtSmall", "SegResNet", "SegResNetDS", "SegResNetDS2", "SwinUNETR",
    "UNETR", "UNet", "Unet", "VNet",
})  # fmt: skip

# Networks of ours, by the names that descriptions give them.
OWN_NETWORKS: dict[str, Callable[..., torch.nn.Module]] = {"Vanilla_UNet_2d": AuthorsUNet}

MAX_NUMBER = 10_000
"""No argument of a real network is larger; a larger one would only exhaust the memory."""


def build_network(
    component: Component, weights: dict[str, torch.Tensor], file: str, weights_file: str
) -> torch.nn.Module:
    """The network that a description names, with its weights, in eval mode and frozen.

    The weights are held against a network without memory first, so that a description cannot ask for more than the weights fill.

    Args:
        component: What the description says; all of its arguments known.
        weights: From `read_weights`.
        file: The description's name for error sentences.
        weights_file: The weights' name for error sentences.

    Raises:
        EngineError: The class is not one of `NETWORKS` or `OWN_NETWORKS`, does not take these arguments, or the weights do not fit it.
    """
    build = network_class(component, file)
    arguments = _arguments(component, build, file)
    try:
        with torch.device("meta"), _Outline(10 * len(weights) + 1000, file, weights_file):
            outline = _built(build, arguments)
    except EngineError:
        raise
    except Exception as error:  # what cannot be measured is not built
        refuse_out_of_memory(error, f"'{file}'")
        raise _refused(component, file, error) from error
    check_fit(outline, weights, weights_file)
    try:
        network = _built(build, arguments)
    except Exception as error:
        refuse_out_of_memory(error, f"'{file}'")
        raise _refused(component, file, error) from error
    load_weights(network, weights, weights_file)
    return network.float().eval().requires_grad_(False)


def network_class(component: Component, file: str) -> Callable[..., torch.nn.Module]:
    """The class that a description names.

    Raises:
        EngineError: `bundle-network`, when it is not one of `NETWORKS` or `OWN_NETWORKS`.
    """
    if component.target in OWN_NETWORKS or (component.is_from("monai.networks.nets") and component.name in NETWORKS):
        return _named(component)
    raise EngineError(
        "bundle-network",
        f"'{file}' sets '{component.where}' to the network '{component.target[:100]}', which is not among those that can be opened: "
        f"{', '.join(sorted([*NETWORKS, *OWN_NETWORKS]))}. Ask the sender for a model with one of these networks.",
    )


def argument(component: Component, name: str) -> Any:
    """An argument of a network as it will be used: the description's, or the class's default (None where it has none)."""
    if name in component.arguments:
        return component.arguments[name]
    parameter = inspect.signature(_named(component)).parameters.get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def required_multiple(component: Component, file: str) -> int:
    """What every axis of the input must be a multiple of, so that the ways down and up of the network meet.

    Raises:
        EngineError: `bundle-network`, where arguments are of a wrong type that building the network did not notice.
    """
    rule = _MULTIPLES.get(component.name.casefold(), lambda _: 1)
    try:
        return math.lcm(rule(component))
    except (TypeError, ValueError) as error:
        raise _refused(component, file, error) from error


def _named(component: Component) -> Callable[..., torch.nn.Module]:
    """The class of an allowed name."""
    built: Callable[..., torch.nn.Module] = OWN_NETWORKS.get(component.target) or getattr(
        monai.networks.nets, component.name
    )
    return built


def _arguments(component: Component, build: Callable[..., torch.nn.Module], file: str) -> dict[str, Any]:
    for value in _leaves(component.arguments):
        if isinstance(value, Component):
            raise EngineError(
                "bundle-network",
                f"'{file}' builds the network from another part, '{value.target[:100]}' at '{value.where}', which is not supported. "
                "Ask the sender for a model whose network is described by plain values.",
            )
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            raise EngineError(
                "bundle-network",
                f"'{file}' describes a network with the number {str(value)[:20]} at '{component.where}', which is out of all proportion. "
                "Ask the sender for an undamaged description.",
            )
    arguments = dict(component.arguments)
    if "pretrained" in inspect.signature(build).parameters:
        arguments["pretrained"] = False  # it would download; the weights come from the file anyway
    return arguments


def _built(build: Callable[..., torch.nn.Module], arguments: dict[str, Any]) -> torch.nn.Module:
    """Building draws random first weights; the caller's random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        return build(**arguments)


class _Outline(TorchFunctionMode):
    """On the meta device: ends a network that would never be finished, and leaves numbers their values that SwinUNETR computes with."""

    def __init__(self, tensors: int, file: str, weights_file: str) -> None:
        super().__init__()
        self.left, self.file, self.weights_file = tensors, file, weights_file

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.left -= func is torch.empty
        if self.left < 0:
            raise EngineError(
                "weights-mismatch",
                f"'{self.file}' describes a network with many times more weights than there are in '{self.weights_file}'. "
                "Check that both belong to the same model.",
            )
        return func(*args, **(kwargs or {}) | ({"device": "cpu"} if func is torch.linspace else {}))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _refused(component: Component, file: str, error: Exception) -> EngineError:
    reason = " ".join(str(error).split())[:300]
    return EngineError(
        "bundle-network",
        f"'{file}' describes a {component.name} at '{component.where}' that MONAI {monai.__version__} cannot build: {reason}. "
        "Ask the sender which version of MONAI it was made with.",
    )


def _strides(component: Component) -> int:
    """The product of the strides; UNet and AttentionUnet use one fewer than there are channels."""
    strides = argument(component, "strides") or []
    if component.name.casefold() in ("unet", "attentionunet"):
        strides = strides[: len(argument(component, "channels")) - 1]
    return math.prod(max(stride) if isinstance(stride, list | tuple) else stride for stride in strides)


def _halvings(component: Component) -> int:
    """SegResNet halves before every block on the way down but the first."""
    return int(2 ** (len(argument(component, "blocks_down")) - 1))


_MULTIPLES: dict[str, Callable[[Component], int]] = {
    "unet": _strides,
    "attentionunet": _strides,
    "dynunet": _strides,
    "segresnet": _halvings,
    "segresnetds": _halvings,
    "segresnetds2": _halvings,
    "basicunet": lambda _: 16,  # four times halved
    "vnet": lambda _: 16,
    "flexibleunet": lambda _: 32,
    "flexunet": lambda _: 32,
    "swinunetr": lambda _: 32,
    "unetr": lambda _: 16,
    "mednext": lambda component: int(2 ** len(argument(component, "blocks_down"))),
    **dict.fromkeys(("mednextsmall", "mednextbase", "mednextmedium", "mednextlarge"), lambda _: 16),
}
