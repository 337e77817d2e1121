"""What a pickle of tensors would build, followed without building it: nothing that is called, hashed, nested or allocated goes unseen.

A few hundred bytes can name a tuple whose hash takes for ever, lists nested until destroying them overflows the stack, or tensors that are larger
than what is stored. So the opcodes are followed here with stand-ins first; PyTorch's own unpicklers, which know the same opcodes, come afterwards.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

import torch

from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory

MAX_OPERATIONS = 1_000_000
MAX_TENSORS = 20_000
"""The largest networks have some thousands, with an optimizer's state three times as many."""
MAX_NAMES = 4
"""Of one tensor: nnU-Net's decoder holds the encoder again, and its blocks hold every layer twice."""
MAX_DEPTH = 64
MAX_VALUES = 5_000_000
"""Of all that is built, shared parts counted wherever they stand."""
MAX_TAG = 1000
"""Characters of a type's name in TorchScript, whose parser calls itself for every bracket."""

_STORAGE = re.compile(r"torch\.(?:cuda\.)?(\w+)Storage|torch\.storage\.(Untyped)Storage")
_ITEM_SIZES = {
    **dict.fromkeys(("Byte", "Char", "Bool", "Untyped"), 1),
    **dict.fromkeys(("Short", "Half", "BFloat16"), 2),
    **dict.fromkeys(("Int", "Float"), 4),
    **dict.fromkeys(("Long", "Double", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
_TENSORS = frozenset({"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"})
_SPARSE = "torch._utils._rebuild_sparse_tensor"
"""Takes no more memory than its parts do; whoever needs weights refuses it later, by its name in the file."""
_CONTAINERS = frozenset({"collections.OrderedDict", "builtins.set", "__builtin__.set"})
_VALUES = frozenset({_SPARSE, "torch.Size", "torch.device", "torch.serialization._get_layout"})
_OTHER_TENSORS = re.compile(
    r"torch\._utils\._rebuild_\w+|torch\.(\w+\.)?(Tensor|\w+Tensor|Q\w+Storage)|torch\.nn\.parameter\.\w+"
)


class RefusedPickleError(Exception):
    """It is not a pickle of plain tensors and values.

    Attributes:
        kind: "code" (it names something else than tensors need), "unknown" (tensors that are not plain), "large", "damaged".
        what: The name, where it is known, or in a few words what is wrong.
    """

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind}: {what}")
        self.kind, self.what = kind, what


@dataclass(slots=True)
class Thing:
    """A value on the stack. `value` is what an atom, a name or a storage is; `parts` are those of containers and objects."""

    kind: str
    value: Any = None
    parts: list[Thing] = field(default_factory=list)
    depth: int = 0


def check_pickle(
    data: bytes | IO[bytes], stored: Callable[[str], int | None], may_call: Callable[[str], bool], limit: int
) -> Thing:
    """Refuse a pickle that is more than tensors, numbers and texts in mappings and lists.

    Args:
        data: Starts with the pickle; a stream is left behind it.
        stored: Bytes that are stored under a storage's key; None where only the sum is known.
        may_call: Whether a further name, as "module.name", stands for what makes nothing but plain values.
        limit: Bytes that all storages, and all tensors, may have together.

    Raises:
        RefusedPickleError: See there.

    Returns:
        What it would build, for `check_nesting`.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    machine = _Machine(stored, may_call, limit)
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if number >= MAX_OPERATIONS:
                raise RefusedPickleError("large", f"it has more than {MAX_OPERATIONS} parts")
            machine.step(opcode.name, argument)
        return machine.stack.pop()
    except RefusedPickleError:
        raise
    except Exception as error:  # the stack runs empty, a memo is not there, it is not a pickle
        refuse_out_of_memory(error)
        raise RefusedPickleError("damaged", str(error)[:100]) from error


class _Machine:
    def __init__(self, stored: Callable[[str], int | None], may_call: Callable[[str], bool], limit: int) -> None:
        self.stored, self.may_call, self.limit = stored, may_call, limit
        self.stack: list[Thing] = []
        self.outer: list[list[Thing]] = []
        self.memo: dict[int, Thing] = {}
        self.storages: dict[str, int] = {}
        self.steps = self._steps()
        self.bytes_stored = self.bytes_of_tensors = self.tensors = 0

    def step(self, name: str, argument: Any) -> None:
        """One opcode."""
        if name in _ATOMS:
            self.stack.append(Thing("atom", _ATOMS[name] if argument is None else argument))
        elif name in _EMPTY:
            self.stack.append(Thing(_EMPTY[name]))
        elif name in self.steps:
            self.steps[name](argument)
        elif name not in ("PROTO", "STOP"):
            raise RefusedPickleError("code" if name in _NAMING else "damaged", "")

    def _steps(self) -> dict[str, Callable[[Any], None]]:
        return {
            "BINPUT": lambda place: self.memo.__setitem__(place, self.stack[-1]),
            "LONG_BINPUT": lambda place: self.memo.__setitem__(place, self.stack[-1]),
            "BINGET": lambda place: self.stack.append(self.memo[place]),
            "LONG_BINGET": lambda place: self.stack.append(self.memo[place]),
            "MARK": lambda _: self._mark(),
            "TUPLE": lambda _: self._tuple(self._since_mark()),
            "TUPLE1": lambda _: self._tuple(self._last(1)),
            "TUPLE2": lambda _: self._tuple(self._last(2)),
            "TUPLE3": lambda _: self._tuple(self._last(3)),
            "APPEND": lambda _: self._append(self._last(1)),
            "APPENDS": lambda _: self._append(self._since_mark()),
            "SETITEM": lambda _: self._set_items(self._last(2)),
            "SETITEMS": lambda _: self._set_items(self._since_mark()),
            "GLOBAL": lambda name: self.stack.append(Thing("name", self._named(name))),
            "BINPERSID": lambda _: self.stack.append(self._storage(_of(self.stack.pop(), "tuple").parts)),
            "REDUCE": lambda _: self._call(new=False),
            "NEWOBJ": lambda _: self._call(new=True),
            "BUILD": lambda _: self._build(self.stack.pop()),
        }

    def _mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def _last(self, count: int) -> list[Thing]:
        items = self.stack[-count:]
        del self.stack[-count:]
        if len(items) < count:
            raise RefusedPickleError("damaged", "its stack runs empty")
        return items

    def _since_mark(self) -> list[Thing]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def _append(self, items: list[Thing]) -> None:
        _of(self.stack[-1], "list").parts.extend(items)

    def _build(self, state: Thing) -> None:
        _of(self.stack[-1], "object", "dict").parts.append(state)

    def _call(self, *, new: bool) -> None:
        arguments = _of(self.stack.pop(), "tuple").parts
        self.stack.append(self._called(_of(self.stack.pop(), "name").value, arguments, new=new))

    def _tuple(self, parts: list[Thing]) -> None:
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > MAX_DEPTH:
            raise RefusedPickleError("large", f"it is nested deeper than {MAX_DEPTH} levels")
        self.stack.append(Thing("tuple", None, parts, depth))

    def _set_items(self, items: list[Thing]) -> None:
        _check_keys(items[::2])
        _of(self.stack[-1], "dict").parts.extend(items)

    def _named(self, argument: str) -> str:
        name = argument.replace(" ", ".", 1)
        dtype = isinstance(getattr(torch, name.removeprefix("torch."), None), torch.dtype)
        if name in _TENSORS | _CONTAINERS | _VALUES or dtype or _item_size(name) or self.may_call(name):
            return name
        raise RefusedPickleError("unknown" if _OTHER_TENSORS.fullmatch(name) else "code", name)

    def _called(self, name: str, arguments: list[Thing], *, new: bool) -> Thing:
        if name == "torch._utils._rebuild_tensor_v2" and not new:
            return self._tensor(arguments)
        if name == "torch._utils._rebuild_parameter" and not new:
            return _of(arguments[0], "tensor")
        if name in _CONTAINERS and not new:
            return self._container(name, arguments)
        if not self.may_call(name) and (new or name not in _VALUES):
            raise RefusedPickleError("code", name)
        if any(isinstance(one.value, str) and len(one.value) > MAX_TAG for one in arguments[1:]):
            raise RefusedPickleError("large", f"the argument of {name}")
        return Thing("object", name, arguments)

    def _container(self, name: str, arguments: list[Thing]) -> Thing:
        items = _of(arguments[0], "list", "tuple").parts if arguments else []
        if name == "collections.OrderedDict":
            pairs = [_of(pair, "list", "tuple").parts for pair in items]
            _check_keys([pair[0] for pair in pairs])
            return Thing("dict", name, [part for pair in pairs for part in pair])
        _check_keys(items)
        return Thing("set", name, items)

    def _storage(self, parts: list[Thing]) -> Thing:
        """Of ("storage", class, key, location, number of items, ...), as PyTorch writes it."""
        size = _item_size(_of(parts[1], "name").value)
        key, count = str(parts[2].value), parts[4].value
        if not size or not isinstance(count, int) or count < 0:
            raise RefusedPickleError("damaged", "a storage of unknown size")
        stored = self.stored(key)
        if stored is not None and stored != count * size:
            raise RefusedPickleError("damaged", f"storage '{key[:40]}' has {stored} bytes and claims {count * size}")
        self.bytes_stored += count * size - self.storages.get(key, 0)
        self.storages[key] = count * size
        if self.bytes_stored > self.limit:
            raise RefusedPickleError("large", "its storages")
        return Thing("storage", (count, size))

    def _tensor(self, arguments: list[Thing]) -> Thing:
        count, item = _of(arguments[0], "storage").value
        offset = arguments[1].value
        lengths, strides = ([part.value for part in _of(one, "tuple").parts] for one in arguments[2:4])
        numbers = [offset, *lengths, *strides]
        if len(lengths) != len(strides) or any(not isinstance(one, int) or one < 0 for one in numbers):
            raise RefusedPickleError("damaged", "a tensor of unknown size")
        last = sum((length - 1) * stride for length, stride in zip(lengths, strides, strict=True))
        if all(lengths) and offset + last >= count:
            raise RefusedPickleError("large", "a tensor beyond its storage")
        self.tensors += 1
        self.bytes_of_tensors += math.prod(lengths) * item
        # A stride of zero, or one storage under many names, makes any size out of little.
        if self.tensors > MAX_TENSORS or self.bytes_of_tensors > MAX_NAMES * self.limit:
            raise RefusedPickleError("large", "its tensors")
        return Thing("tensor")


_ATOMS: dict[str, Any] = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1", "NONE")),
    "NEWTRUE": True,
    "NEWFALSE": False,
}
_NAMING = frozenset({"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ_EX"})
_EMPTY = {"EMPTY_TUPLE": "tuple", "EMPTY_LIST": "list", "EMPTY_DICT": "dict", "EMPTY_SET": "set"}


def _of(thing: Thing, *kinds: str) -> Thing:
    if thing.kind not in kinds:
        raise RefusedPickleError("damaged", f"a {thing.kind} in the place of a {kinds[0]}")
    return thing


def _item_size(name: str) -> int:
    """Bytes of an item of a storage's class; 0 where it is not one."""
    match = _STORAGE.fullmatch(name)
    return _ITEM_SIZES.get(match.group(1) or match.group(2), 0) if match else 0


def _check_keys(keys: list[Thing]) -> None:
    """The hash of a tuple in tuples may take for ever."""
    for key in keys:
        parts = key.parts if key.kind == "tuple" else [key]
        if len(parts) > MAX_DEPTH or any(part.kind not in ("atom", "name") for part in parts):
            raise RefusedPickleError("large", f"a {key.kind} is used as a key")


def check_nesting(root: Thing) -> None:
    """Refuse what native code cannot follow or destroy without overflowing the stack. Python can, even what holds itself.

    Raises:
        RefusedPickleError: `large`.
    """
    done: dict[int, tuple[int, int]] = {}
    path: list[tuple[Thing, int]] = [(root, 0)]
    while path:
        thing, number = path.pop()
        if number < len(thing.parts):
            path.append((thing, number + 1))
            if id(thing.parts[number]) not in done:
                path.append((thing.parts[number], 0))
        else:
            inside = [done[id(part)] for part in thing.parts]
            done[id(thing)] = 1 + max((deep for deep, _ in inside), default=0), 1 + sum(many for _, many in inside)
        if len(path) > MAX_DEPTH or done.get(id(thing), (0, 0))[0] > MAX_DEPTH:
            raise RefusedPickleError("large", f"it is nested deeper than {MAX_DEPTH} levels")
        if done.get(id(thing), (0, 0))[1] > MAX_VALUES:
            raise RefusedPickleError("large", f"it stands for more than {MAX_VALUES} values")
