"""Weights files: read without running what is in them, and laid into a network only where they fit exactly."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import refuse_out_of_memory
from SegHiResCAMLib.engine.models.untrusted.pickled_content import MAX_TENSORS, RefusedPickleError, check_pickle
from SegHiResCAMLib.engine.models.untrusted.pickled_names import wanted_by
from SegHiResCAMLib.engine.models.untrusted.pickled_numbers import STAND_INS
from SegHiResCAMLib.engine.models.untrusted.received import check_received
from SegHiResCAMLib.engine.models.untrusted.script import is_script
from SegHiResCAMLib.engine.models.untrusted.zip_layout import CompressedError, stored_files
from SegHiResCAMLib.engine.regular_files import open_regular

MAX_BYTES = 8 << 30
"""No segmentation network is larger."""

MAX_PICKLE = 64 << 20
"""Of a checkpoint's own structure, beside the numbers of its tensors."""

_PICKLES = 5
"""A checkpoint of PyTorch before 1.6: a magic number, a version, the machine's sizes, the content, the order of its storages."""
_STAND_IN_NAMES = frozenset(name for _, name in STAND_INS)

# Under what checkpoints keep the state dict: MONAI and Ignite, Lightning, nnU-Net, and habits.
_KEYS = ("state_dict", "model", "model_state_dict", "network_weights", "network", "net", "weights")
_PREFIXES = ("module.", "_orig_mod.")

_RESAVE = "ask the model's author to save the weights alone, with torch.save(model.state_dict(), 'model.pt')"


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict in a PyTorch or safetensors file: parameter names to tensors on the CPU, floating-point ones as float32.

    Raises:
        EngineError: `weights-…`, when the file is absent, empty, truncated, a Git LFS pointer, a TorchScript archive or no checkpoint,
            when unpickling it would run code, or when weights are not finite.
    """
    return weights_in(read_checkpoint(path), path)


def read_checkpoint(path: str | Path) -> Any:
    """All that a PyTorch or safetensors file holds: mappings, lists, texts, numbers and tensors on the CPU.

    Raises:
        EngineError: As `read_weights`, but for what only `weights_in` looks at.
    """
    path = Path(path)
    _check_file(path)
    return _load_safetensors(path) if path.suffix.lower() == ".safetensors" else _load(path)


def weights_in(content: Any, path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict in what `read_checkpoint` gave; `path` is for error messages.

    Raises:
        EngineError: `weights-unknown`, `weights-not-finite`.
    """
    path = Path(path)
    return sound(_without_prefixes(_state_dict(content, path)), path)


def sound(weights: Mapping[str, torch.Tensor], path: str | Path) -> dict[str, torch.Tensor]:
    """The same weights, floating-point ones as float32; `path` is for error messages.

    Raises:
        EngineError: `weights-unknown`, `weights-not-finite`.
    """
    path = Path(path)
    return {name: _checked(name, tensor, path) for name, tensor in weights.items()}


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, lower-case hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_fit(network: torch.nn.Module, weights: Mapping[str, torch.Tensor], file: str) -> None:
    """Every parameter and buffer of `network` has its weights, of its shape, and no weights are left over.

    Raises:
        EngineError: `weights-mismatch`, naming the first that differ.
    """
    own = network.state_dict()
    shapes = [
        f"'{name}' is {_shape(weights[name])} there and {_shape(tensor)} in the network"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    differences = [
        _listed(missing, "weight(s) are missing"),
        _listed(unexpected, "weight(s) do not belong to it"),
        _listed(shapes, "weight(s) have another shape"),
    ]
    if any(differences):
        raise EngineError(
            "weights-mismatch",
            f"The weights in '{file}' do not fit the network that the description gives: {'; '.join(filter(None, differences))}. "
            "Check that both belong to the same model.",
        )


def load_weights(network: torch.nn.Module, weights: Mapping[str, torch.Tensor], file: str) -> None:
    """Lay `weights` into `network`.

    Raises:
        EngineError: As `check_fit`.
    """
    check_fit(network, weights, file)
    network.load_state_dict(weights, strict=True)


def _check_file(path: Path) -> None:
    check_received(path, "weights file", "weights")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise EngineError(
            "weights-large", f"The weights file '{path}' has {size} bytes, more than the {MAX_BYTES} that are read."
        )


def _load(path: Path) -> Any:
    """What was checked is what is loaded: one open file, which both readers read alike."""
    with open_regular(path, f"'{path}'") as file:
        try:
            _check_content(file, path)
            file.seek(0)
            with warnings.catch_warnings(), torch.serialization.safe_globals([*STAND_INS]):
                warnings.simplefilter("ignore")  # about unusual pickles, to programmers
                return torch.load(file, map_location="cpu", weights_only=True)
        except EngineError:
            raise
        except RefusedPickleError as error:
            raise _refused_pickle(error, path) from error
        except CompressedError as error:
            raise _torchscript(path) if is_script(path) else _too_much(path) from error
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+)", str(error))
            wanted = named.group(1) if named else wanted_by(path)
            raise _needs_code(path, wanted) if wanted else _damaged(path) from error
        except Exception as error:  # a hostile or broken pickle can fail in any way
            refuse_out_of_memory(error, f"'{path}'")
            raise _damaged(path) from error


def _check_content(file: BinaryIO, path: Path) -> None:
    """What PyTorch's readers trust: that the file is whole, and builds no more than it holds."""
    limit = path.stat().st_size
    if file.read(4) != b"PK\x03\x04":
        file.seek(0)
        for _ in range(_PICKLES):
            check_pickle(file, lambda _: None, _STAND_IN_NAMES.__contains__, limit)
        return
    records = {one.name: one for one in stored_files(file)}
    folder = next(iter(records)).partition(b"/")[0] + b"/"  # PyTorch goes by the first file
    if folder + b"constants.pkl" in records:
        raise _torchscript(path)
    content = records.get(folder + b"data.pkl")
    if content is None:
        raise EngineError("weights-unknown", f"'{path}' is a zip archive but not a PyTorch checkpoint; {_RESAVE}.")
    if content.size > MAX_PICKLE:
        raise _too_much(path)
    file.seek(content.offset)

    def stored(key: str) -> int:
        return records[folder + b"data/" + key.encode()].size

    check_pickle(file.read(content.size), stored, _STAND_IN_NAMES.__contains__, limit)


def _torchscript(path: Path) -> EngineError:
    return EngineError(
        "weights-torchscript",
        f"'{path}' is a TorchScript archive: a program, whose layers cannot be accessed by name. Use the file with the weights alone, often "
        f"'model.pt' beside it, or {_RESAVE}.",
    )


def _refused_pickle(error: RefusedPickleError, path: Path) -> EngineError:
    wanted = {"code": error.what or wanted_by(path), "damaged": wanted_by(path)}.get(error.kind)
    if wanted:
        return _needs_code(path, wanted)
    if error.kind == "unknown":
        return EngineError(
            "weights-unknown", f"'{path}' holds '{error.what[:100]}', which is not a plain tensor; {_RESAVE}."
        )
    return _too_much(path) if error.kind == "large" else _damaged(path)


def _load_safetensors(path: Path) -> Any:
    from safetensors import safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, "pt") as file:
            count = len(file.keys())
        if count > MAX_TENSORS:
            raise _too_much(path)
        return load_file(path, device="cpu")
    except EngineError:
        raise
    except Exception as error:
        refuse_out_of_memory(error, f"'{path}'")
        raise _damaged(path) from error


def _state_dict(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The mapping of names to tensors: the content itself, or what it keeps under one of the usual keys."""
    mapping = content if isinstance(content, dict) else {}
    for candidate in (mapping, *(mapping[key] for key in _KEYS if key in mapping)):
        if _is_state_dict(candidate):
            return candidate
    keys = ", ".join(f"'{str(key)[:40]}'" for key in list(mapping)[:5])
    found = f"a mapping with {keys}" if keys else f"a {type(content).__name__}"
    raise EngineError("weights-unknown", f"'{path}' holds no weights by name but {found}; {_RESAVE}.")


def _is_state_dict(value: Any) -> TypeGuard[dict[str, torch.Tensor]]:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items())
    )


def _without_prefixes(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As the network itself names them, without what DataParallel and torch.compile put before."""
    for prefix in _PREFIXES * 2:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _checked(name: str, tensor: torch.Tensor, path: Path) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
        raise EngineError("weights-unknown", f"'{name[:100]}' in '{path}' is not a plain tensor; {_RESAVE}.")
    tensor = tensor.detach()
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.float()
    if not torch.isfinite(tensor).all():
        raise EngineError(
            "weights-not-finite",
            f"The weights '{name[:100]}' in '{path}' hold values that are NaN or infinite. "
            "Ask the model's author for other weights; the training may have diverged.",
        )
    return tensor


def _shape(tensor: torch.Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _listed(items: list[str], what: str) -> str:
    more = ", ..." if len(items) > 3 else ""
    return f"{len(items)} {what} ({', '.join(items[:3])}{more})" if items else ""


def _needs_code(path: Path, wanted: str) -> EngineError:
    """The command is for those who trust the file because it is theirs; both shells of Windows and of Unix take it as it stands."""
    name = path.name if re.fullmatch(r"[\w. -]+", path.name) else "model.pt"
    command = (
        f"import torch; m = torch.load('{name}', map_location='cpu', weights_only=False); m = next((m[k] for k in {_KEYS} if k in m), m) "
        "if isinstance(m, dict) else m; torch.save(m.state_dict() if hasattr(m, 'state_dict') else m, 'weights.pt')"
    )
    return EngineError(
        "weights-code",
        f"'{path}' holds more than weights: opening it would run '{wanted[:100]}'. Nothing was run. Ask the model's author to save the weights alone "
        f'and to send weights.pt: `python -c "{command}"`.',
    )


def _damaged(path: Path) -> EngineError:
    return EngineError(
        "weights-damaged", f"'{path}' is truncated, damaged, or no PyTorch checkpoint. Copy or download it again."
    )


def _too_much(path: Path) -> EngineError:
    return EngineError(
        "weights-large",
        f"'{path}' is compressed, or claims far more than it holds, unlike any checkpoint of PyTorch; {_RESAVE}.",
    )
