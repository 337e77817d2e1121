"""Which networks a description may name, and how they are built from it."""

from __future__ import annotations

import copy
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
from SegHiResCAMLib.engine.models.untrusted.resolver import ConfigComponent
from SegHiResCAMLib.engine.models.weights_matching import match_weights, named_tensors

# Segmentation networks of MONAI that answer an image (B, C, *spatial) with logits on the same grid. MONAI has more names for some.
NETWORKS = (
    "AttentionUnet", "BasicUNet", "DynUNet", "FlexibleUNet", "HighResNet", "MedNeXt", "MedNeXtLarge", "MedNeXtMedium", "MedNeXtSmall",
    "MedNextBase", "SegResNet", "SegResNetDS", "SegResNetDS2", "SwinUNETR", "UNETR", "UNet", "VNet",
)  # fmt: skip

# Networks of ours, by the names that descriptions give them.
OWN_NETWORKS: dict[str, Callable[..., torch.nn.Module]] = {"Vanilla_UNet_2d": AuthorsUNet}

# Arguments that MONAI has renamed, and those that it has dropped because they changed nothing.
_NEW_NAMES = {"dimensions": "spatial_dims", "pos_embed": "proj_type"}
_DROPPED = {"SwinUNETR": ("img_size",)}

MAX_NUMBER = 10_000
"""No argument of a real network is larger; a larger one would only exhaust the memory."""


def build_network(
    component: ConfigComponent, checkpoint: Any, file: str, weights_file: str, key: str = ""
) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """The network that a description names, with its weights, in eval mode and frozen; and notes on how the two were brought together.

    The weights are held against a network without memory first, so that a description cannot ask for more than the weights fill.

    Args:
        component: What the description says; all of its arguments known.
        checkpoint: From `read_checkpoint`.
        file: The description's name for error messages.
        weights_file: The checkpoint.
        key: Where the description says that the weights are in the checkpoint; empty where it says nothing.

    Raises:
        EngineError: The class is not one of `NETWORKS` or `OWN_NETWORKS`, does not take these arguments, or the weights do not fit it.
    """
    build = network_class(component, file)
    arguments, notes = _arguments(component, build, file)
    tensors = sum(len(named) for _, named in named_tensors(checkpoint))
    try:
        with torch.device("meta"), _Outline(10 * tensors + 1000, file, weights_file):
            outline = _built(build, arguments)
    except EngineError:
        raise
    except Exception as error:  # what cannot be measured is not built
        refuse_out_of_memory(error, f"'{file}'")
        raise _refused(component, file, error) from error
    matched = match_weights(checkpoint, outline, lambda: _used(outline, component), weights_file, key)
    try:
        network = _built(build, arguments)
    except Exception as error:
        refuse_out_of_memory(error, f"'{file}'")
        raise _refused(component, file, error) from error
    network.load_state_dict(matched.weights, strict=False)  # what is missing is never used
    return network.float().eval().requires_grad_(False), (*notes, *matched.notes)


def network_class(component: ConfigComponent, file: str) -> Callable[..., torch.nn.Module]:
    """The class that a description names.

    Raises:
        EngineError: `bundle-network`, when it is not one of `NETWORKS` or `OWN_NETWORKS`.
    """
    if component.target in OWN_NETWORKS or (component.is_from("monai.networks.nets") and _is_allowed(component.name)):
        return _named(component)
    raise network_not_supported(component.target, component.where, file)


def network_not_supported(target: str, where: str, file: str) -> EngineError:
    """The error for a network of another class than can be opened; it does not depend on anything else in the model."""
    known = ", ".join(sorted([*NETWORKS, *OWN_NETWORKS], key=str.casefold))
    own = "." in target and not target.startswith(("monai.", "torch.", "torchvision."))
    what = "code that comes with the model and is never run" if own else "not a segmentation network that can be opened"
    return EngineError(
        "bundle-network",
        f"'{file}' sets '{where}' to the network '{target[:100]}', which is {what}. Choose a model with one of these networks: {known}; "
        "docs/models/monai-bundle.md lists the bundles of MONAI's Model Zoo that open.",
    )


def argument(component: ConfigComponent, name: str) -> Any:
    """An argument of a network as it will be used: the description's, or the class's default (None where it has none)."""
    arguments = _under_new_names(component, _named(component))
    if name in arguments:
        return arguments[name]
    parameter = inspect.signature(_named(component)).parameters.get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def required_multiple(component: ConfigComponent, file: str) -> int:
    """What every axis of the input must be a multiple of, so that the ways down and up of the network meet.

    Raises:
        EngineError: `bundle-network`, where arguments are of a wrong type that building the network did not notice.
    """
    rule: Callable[[ConfigComponent], int] = _MULTIPLES.get(component.name.casefold(), lambda _: 1)
    try:
        multiple = math.lcm(rule(component))
        if not multiple:
            raise ValueError("a stride is 0")
    except (TypeError, ValueError) as error:
        raise _refused(component, file, error) from error
    return multiple


def _named(component: ConfigComponent) -> Callable[..., torch.nn.Module]:
    """The class of an allowed name."""
    built: Callable[..., torch.nn.Module] = OWN_NETWORKS.get(component.target) or getattr(
        monai.networks.nets, component.name
    )
    return built


def _under_new_names(component: ConfigComponent, build: Callable[..., torch.nn.Module]) -> dict[str, Any]:
    known = inspect.signature(build).parameters
    return {name if name in known else _NEW_NAMES.get(name, name): one for name, one in component.arguments.items()}


def _is_allowed(name: str) -> bool:
    """Whether this is one of MONAI's names, of which there may be several, for one of `NETWORKS`."""
    named = getattr(monai.networks.nets, name, None)
    return any(named is getattr(monai.networks.nets, known) for known in NETWORKS)


def _used(network: torch.nn.Module, component: ConfigComponent) -> frozenset[str]:
    """The names of the parameters and buffers that a forward pass in eval mode uses, found on the meta device; all where that fails."""
    network = copy.deepcopy(network).to("meta").eval()
    named = network.state_dict(keep_vars=True)
    size = argument(component, "img_size") or -(-64 // (step := required_multiple(component, ""))) * step
    dims = argument(component, "spatial_dims") or 2
    shape = size if isinstance(size, list | tuple) else [size] * dims
    watch = _Watch()
    try:
        with torch.device("meta"), torch.no_grad(), watch:
            network(torch.empty(1, argument(component, "in_channels") or 1, *shape))
    except Exception:  # noqa: BLE001 - whatever a network computes that needs values
        return frozenset(named)
    return frozenset(name for name, tensor in named.items() if id(tensor) in watch.seen)


def _arguments(
    component: ConfigComponent, build: Callable[..., torch.nn.Module], file: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments as the installed MONAI takes them, and notes on those that it has dropped."""
    for value in _leaves(component.arguments):
        if isinstance(value, ConfigComponent):
            raise EngineError(
                "bundle-network",
                f"'{file}' builds the network from another part, '{value.target[:100]}' at '{value.where}', which is not supported. "
                "Ask the model's author for a model whose network is described by plain values.",
            )
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            raise EngineError(
                "bundle-network",
                f"'{file}' describes a network with the number {str(value)[:20]} at '{component.where}', which is not plausible. "
                "Ask the model's author for an undamaged description.",
            )
    known = inspect.signature(build).parameters
    arguments = _under_new_names(component, build)
    dropped = [name for name in _DROPPED.get(build.__name__, ()) if name in arguments and name not in known]
    if "pretrained" in known:
        arguments["pretrained"] = False  # it would download; the weights come from the file anyway
    note = (
        f"'{file}' gives {component.name} the argument(s) {', '.join(dropped)}, which MONAI {monai.__version__} no longer has and which "
        "changed nothing in the network. They are ignored."
    )
    return {name: one for name, one in arguments.items() if name not in dropped}, (note,) if dropped else ()


def _built(build: Callable[..., torch.nn.Module], arguments: dict[str, Any]) -> torch.nn.Module:
    """Building draws random first weights; the caller's random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        return build(**arguments)


class _Watch(TorchFunctionMode):
    """Remembers the tensors that functions are called with."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        self.seen.update(id(one) for one in _leaves([*args, *given.values()]))
        return func(*args, **given)


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
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _leaves(item)
    else:
        yield value


def _refused(component: ConfigComponent, file: str, error: Exception) -> EngineError:
    reason = " ".join(str(error).split())[:300]
    return EngineError(
        "bundle-network",
        f"'{file}' describes a {component.name} at '{component.where}' that MONAI {monai.__version__} cannot build: {reason}. "
        "Ask the model's author which version of MONAI it was made with.",
    )


def _strides(component: ConfigComponent) -> int:
    """The product of the strides; UNet and AttentionUnet use one fewer than there are channels."""
    strides = argument(component, "strides") or []
    if component.name.casefold() in ("unet", "attentionunet"):
        strides = strides[: len(argument(component, "channels")) - 1]
    return math.prod(max(stride) if isinstance(stride, list | tuple) else stride for stride in strides)


def _halvings(component: ConfigComponent) -> int:
    """SegResNet halves before every block on the way down but the first."""
    return int(2 ** (len(argument(component, "blocks_down")) - 1))


_MULTIPLES: dict[str, Callable[[ConfigComponent], int]] = {
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
