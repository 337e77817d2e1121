"""Which of a checkpoint's tensors are the weights of a network, whatever training wrapped around them.

Programs put words before every name (Lightning `_model.`, DataParallel `module.`, torch.compile `_orig_mod.`), and keep losses,
optimisers or averaged weights beside the weights. None of these words is needed: what counts is that the network's own names are there, with
their shapes, behind one common prefix. Two rules keep a wrong description from passing for a right one:

- weights may be missing only where the network's forward pass never uses them (measured);
- tensors may be left over only beside the network, not inside one of its parts, apart from what other versions of MONAI have there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from SegHiResCAMLib.engine.models.untrusted.checkpoint import check_fit, sound, weights_in

WEIGHTS = (".pt", ".pth", ".pth.tar", ".ckpt", ".bin", ".safetensors")
"""How files with weights are named."""

MAX_DEPTH = 4
"""Of mappings within mappings; checkpoints keep their weights no deeper."""

MAX_PREFIXES = 20
"""That are tried in each mapping, those first that are before most of the network's names."""

_AVERAGED = re.compile(r"(^|[._-])(ema|swa|avg|average|averaged|teacher)([._-]|$)", re.IGNORECASE)

# Inside a network, but without a use in eval mode: counters of training, and what other versions of MONAI have there.
_WITHOUT_USE = re.compile(
    r"(^|\.)(num_batches_tracked|n_averaged)$"
    r"|\.patch_embedding\.cls_token$"  # UNETR of early versions
    r"|\.(norm_)?cross_attn\."  # UNETR of MONAI 1.4, which has nothing to attend to
    r"|\.super_head\."  # DynUNet's heads of deep supervision
    r"|\.head\.(weight|bias)$"  # those of SegResNetDS
)

# What layers were called before they were renamed.
_RENAMED = ((re.compile(r"\.mlp\.fc([12])\."), r".mlp.linear\1."),)  # SwinUNETR of early versions


@dataclass(frozen=True)
class Matched:
    """The weights of a network.

    Attributes:
        weights: By the network's own names. Those that its forward pass never uses may be missing.
        notes: Messages about what was decided and what was left out.
    """

    weights: dict[str, torch.Tensor]
    notes: tuple[str, ...]


def has_weights_name(path: Path) -> bool:
    """Whether a file is named as one of weights."""
    return path.name.lower().endswith(WEIGHTS)


def named_tensors(content: Any) -> list[tuple[str, dict[str, torch.Tensor]]]:
    """The mappings of names to tensors in what a checkpoint holds, each with its place ("", "state_dict", "fold.model").

    Args:
        content: From `read_checkpoint`.
    """
    return list(_named_tensors(content, (), MAX_DEPTH))


def match_weights(
    content: Any, network: torch.nn.Module, used: Callable[[], frozenset[str]], file: str | Path, key: str = ""
) -> Matched:
    """The weights of `network` in what a checkpoint holds.

    Args:
        content: From `read_checkpoint`.
        network: May be on the meta device.
        used: The names of the parameters and buffers that a forward pass uses; called only where some are missing.
        file: The checkpoint.
        key: Where the model's description says that the weights are; empty where it says nothing.

    Raises:
        EngineError: `weights-mismatch`, naming what differs in the part of the checkpoint that comes closest; or as `sound`.
    """
    places = named_tensors(content) or [("", weights_in(content, file))]
    own: dict[str, torch.Tensor] = network.state_dict(keep_vars=True)
    fits = [fit for where, named in places for fit in _fits(where, named, own)]
    complete = [fit for fit in fits if not fit.missing(own)]
    if not complete and fits:
        needed = used()
        complete = [fit for fit in fits if not fit.missing(own) & needed]
    parts = {name.partition(".")[0] for name in own} | {name for name, _ in network.named_children()}
    proper = [fit for fit in complete if fit.has_shapes_of(own) and fit.is_consistent_with(parts)]
    if not proper:
        closest = max(fits, key=lambda fit: (fit in complete, len(fit.names)), default=None)
        near = closest.weights | closest.left_over() if closest else max((named for _, named in places), key=len)
        check_fit(network, near, str(file))
    chosen, notes = _choice(proper, str(file), key)
    return Matched(sound(chosen.weights, file), notes)


@dataclass(frozen=True, eq=False)
class _Fit:
    """A prefix, in one of a checkpoint's mappings, behind which there are names of the network.

    Attributes:
        where: The mapping's place in the checkpoint.
        prefix: Empty, or ends in a dot.
        named: The mapping.
        names: The network's names to those in the mapping.
    """

    where: str
    prefix: str
    named: Mapping[str, torch.Tensor]
    names: Mapping[str, str]

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        return {own: self.named[name] for own, name in self.names.items()}

    @property
    def title(self) -> str:
        return ".".join(filter(None, (self.where, self.prefix.removesuffix(".")))) or "the file itself"

    @property
    def averaged(self) -> bool:
        """Whether these are means over training steps: the names say so, or a counter of torch's `AveragedModel` is beside them."""
        return bool(_AVERAGED.search(self.title)) or f"{self.prefix.removesuffix('module.')}n_averaged" in self.named

    def missing(self, own: Mapping[str, torch.Tensor]) -> frozenset[str]:
        return frozenset(own) - self.names.keys()

    def has_shapes_of(self, own: Mapping[str, torch.Tensor]) -> bool:
        return all(self.named[name].shape == own[inner].shape for inner, name in self.names.items())

    def left_over(self) -> dict[str, torch.Tensor]:
        """What is behind the prefix without a place in the network, but for what no version of MONAI uses."""
        taken = set(self.names.values())
        return {
            name.removeprefix(self.prefix): one
            for name, one in self.named.items()
            if name.startswith(self.prefix) and name not in taken and not _WITHOUT_USE.search(name)
        }

    def is_consistent_with(self, parts: set[str]) -> bool:
        """Whether nothing is left over inside one of the network's own parts, where it would have been used."""
        return not any(name.partition(".")[0] in parts for name in self.left_over())


def _named_tensors(content: Any, keys: tuple[str, ...], depth: int) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    if not isinstance(content, dict):
        return
    named = {name: one for name, one in content.items() if isinstance(name, str) and isinstance(one, torch.Tensor)}
    if named:
        yield ".".join(keys), named
    for key, value in content.items() if depth else ():
        yield from _named_tensors(value, (*keys, str(key)), depth - 1)


def _fits(where: str, named: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> Iterator[_Fit]:
    """The prefixes behind which there are names of the network."""
    longest = max((name.count(".") + 1 for name in own), default=0)
    found: dict[str, dict[str, str]] = {}
    for name in named:
        words = name.split(".")
        for start in range(max(0, len(words) - longest), len(words)):
            inner = _as_today(".".join(words[start:]), own)
            if inner in own:
                found.setdefault("".join(f"{word}." for word in words[:start]), {})[inner] = name
    twins: dict[int, list[str]] = {}
    for name, tensor in own.items():
        twins.setdefault(id(tensor), []).append(name)
    for prefix, names in sorted(found.items(), key=lambda item: -len(item[1]))[:MAX_PREFIXES]:
        for same in twins.values():  # one tensor under several names, of which a file may have kept one
            kept = next((names[name] for name in same if name in names), None)
            if kept is not None:
                names.update({name: kept for name in same if name not in names})
        yield _Fit(where, prefix, named, names)


def _as_today(name: str, own: Mapping[str, Any]) -> str:
    """A name of an older version where the network has the new one."""
    renamed = (pattern.sub(new, name) for pattern, new in _RENAMED)
    return name if name in own else next((new for new in renamed if new in own), name)


def _choice(fits: list[_Fit], file: str, key: str) -> tuple[_Fit, tuple[str, ...]]:
    """One of the sets of weights that fit: the one that the description names, else the averaged one, else the first; and what to say."""
    apart = list({next(iter(fit.weights.values())).data_ptr(): fit for fit in reversed(fits)}.values())[::-1]
    named = [fit for fit in apart if key and f"{fit.title}.".startswith(f"{key}.")]
    averaged = [fit for fit in apart if fit.averaged]
    chosen = [*named, *averaged, *apart][0]
    notes = []
    if len(apart) > 1:
        why = (
            "the model's description names it"
            if named
            else "it is averaged over training"
            if averaged
            else "it is the first"
        )
        titles = ", ".join(f"'{fit.title}'" for fit in apart[:5])
        notes.append(
            f"'{file}' holds {len(apart)} sets of weights that fit the network ({titles}). "
            f"'{chosen.title}' is used, because {why}."
        )
    taken = {name for fit in fits if fit.named is chosen.named for name in fit.names.values()}
    left = [name for name in chosen.named if name not in taken and not _WITHOUT_USE.search(name)]
    if left:
        names = ", ".join(f"'{name[:80]}'" for name in left[:3]) + (", ..." if len(left) > 3 else "")
        notes.append(f"{len(left)} tensor(s) in '{file}' do not belong to the network and are ignored: {names}.")
    return chosen, tuple(notes)
