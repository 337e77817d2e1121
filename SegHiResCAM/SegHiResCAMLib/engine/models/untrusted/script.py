"""TorchScript archives: programs for PyTorch's own interpreter, let in only where they do nothing but compute tensors.

Loading compiles what `code/` holds and would run methods called `__setstate__`; running a script could write files (`aten::save`,
`aten::from_file`). Hence: archives are unpacked within bounds and packed anew, so that PyTorch's reader sees what was looked at; one that has
such a method or a C++ class is not loaded; and the forward pass, with all it calls, may only use the operations of networks.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.models.untrusted.archive import files_in, is_zip, unpacked
from SegHiResCAMLib.writing.temporary import temporary_folder

# What MONAI's networks consist of, scripted or traced, and their like. None reaches beyond tensors, numbers and texts.
OPERATIONS = frozenset(
    f"aten::{name}"
    for name in """
    Bool Float Int __and__ __contains__ __derive_index __getitem__ __is__ __isnot__ __not__ __or__ __range_length _convolution _set_item
    _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d abs adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d add
    add_ addmm all any append arange argmax as_tensor avg_pool2d avg_pool3d batch_norm bitwise_not bmm cat ceil chunk clamp clamp_min clone
    constant_pad_nd contiguous conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d cumsum detach dim div div_ dropout
    dropout_ einsum elu elu_ eq erf exp expand expand_as feature_dropout feature_dropout_ fill_ flatten flip floor floor_divide floordiv
    format full full_like ge gelu getitem group_norm gt hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ index instance_norm
    is_floating_point items keys layer_norm le leaky_relu leaky_relu_ len linear list log log_softmax logical_and logical_not lt masked_fill
    matmul max max_pool2d max_pool3d maximum mean min minimum mish mish_ mul mul_ narrow ne neg new_zeros numel ones ones_like pad permute
    pixel_shuffle pop pow prelu rand reciprocal reflection_pad2d reflection_pad3d relu relu6 relu_ remainder repeat replication_pad2d
    replication_pad3d reshape reverse roll rsqrt rsub scaled_dot_product_attention select selu sigmoid sigmoid_ silu silu_ size slice softmax
    softplus split split_with_sizes sqrt square squeeze stack std sub sub_ sum t tanh tanh_ tensor to transpose type_as unbind unflatten
    unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d
    upsample_trilinear3d values var view view_as warn where zeros zeros_like
    """.split()  # noqa: SIM905
) | frozenset(
    f"prim::{name}"
    for name in """
    Constant ConstantChunk DictConstruct GetAttr If ImplicitTensorToNum ListConstruct ListUnpack Loop NumToTensor RaiseException SetAttr
    TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized data device dtype is_cuda layout max min requires_grad shape
    unchecked_cast unchecked_unwrap_optional
    """.split()  # noqa: SIM905
)

_RUNS_WHEN_LOADED = re.compile(rb"__setstate__|torch\s*\.\s*classes")


class ScriptNetwork(torch.nn.Module):
    """A script as a network. Its submodules have names, but nothing can be hooked to them."""

    def __init__(self, script: torch.nn.Module, file: str) -> None:
        super().__init__()
        self.script = script
        self.file = file

    def forward(self, images: torch.Tensor) -> Any:
        """What the script answers.

        Raises:
            EngineError: `script-failed`.
        """
        try:
            return self.script(images)
        except (RuntimeError, torch.jit.Error) as error:
            size = " x ".join(str(length) for length in images.shape[2:])
            raise EngineError(
                "script-failed",
                f"The script '{self.file}' cannot treat {images.shape[1]} channel(s) of {size} positions: {_last_line(error)}. "
                "Ask the sender which input it takes.",
            ) from error


def is_script(path: Path) -> bool:
    """Whether a file is a TorchScript archive; `model.pt` can be one, too."""
    if not is_zip(path):
        return False
    try:
        names = files_in(str(path))
    except EngineError:
        return False
    return "constants.pkl" in names and any(name.startswith("code/") for name in names)


def read_script(path: Path) -> ScriptNetwork:
    """The network in a TorchScript archive, in eval mode, frozen, on the CPU.

    Raises:
        EngineError: `script-…`: it would do more than compute, it is damaged, or its weights are not finite; `archive-…`.
    """
    with unpacked(str(path)) as folder:
        for file in sorted((folder / "code").rglob("*")):
            if file.is_file() and file.suffix != ".debug_pkl":
                _check_code(file.read_bytes(), path)
        for file in sorted(folder.glob("*.pkl")):
            _check_pickle(file.read_bytes(), path)
        script = _load(folder, path)
    _check_operations(script, path)
    for name, tensor in script.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise _refusal("not-finite", path, f"holds weights that are no finite numbers, in '{name[:100]}'", _OTHER)
    network = ScriptNetwork(script, str(path))
    return network.float().eval().requires_grad_(False)


_OTHER = "Ask the sender for other weights; the training may have diverged"
_WEIGHTS = "Ask the sender for the weights alone, 'models/model.pt' of the bundle, or torch.save(model.state_dict(), 'model.pt')"


def _check_code(code: bytes, path: Path) -> None:
    if _RUNS_WHEN_LOADED.search(code):
        raise _runs_when_loaded(path)


def _check_pickle(data: bytes, path: Path) -> None:
    """Only classes of the script's own, named in one piece, as PyTorch writes them."""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STACK_GLOBAL" or (opcode.name == "GLOBAL" and "torch.classes" in str(argument)):
                raise _runs_when_loaded(path)
    except EngineError:
        raise
    except Exception as error:  # it is no pickle
        raise _refusal("damaged", path, "is damaged", "Copy or download it again") from error


def _load(folder: Path, path: Path) -> torch.nn.Module:
    """Packed anew: two readers of one archive can see different files in it."""
    with temporary_folder("script") as temporary:
        anew = temporary / "script.pt"
        with zipfile.ZipFile(anew, "w") as packed:
            for file in sorted(folder.rglob("*")):
                name = file.relative_to(folder)
                if file.is_file() and file.suffix != ".debug_pkl" and name.parts[0] != "extra":
                    packed.write(file, f"archive/{name.as_posix()}")
        try:
            script: torch.nn.Module = torch.jit.load(anew, map_location="cpu")
        except Exception as error:  # its parser and its unpickler may fail in any way
            problem = f"is damaged, or made by another version of PyTorch than {torch.__version__}"
            raise _refusal(
                "damaged", path, problem, "Copy it again, or ask the sender for the weights alone"
            ) from error
    return script


def _check_operations(script: torch.nn.Module, path: Path) -> None:
    try:
        graph = script.inlined_graph
    except Exception as error:
        raise _refusal("damaged", path, "has no forward pass", _WEIGHTS) from error
    unknown = next((kind for kind in _kinds(graph) if kind not in OPERATIONS), None)
    if unknown:
        problem = (
            f"would run '{unknown[:100]}', which is not among the operations that networks consist of; nothing was run"
        )
        raise _refusal("code", path, problem, _WEIGHTS)


def _kinds(block: Any) -> Iterator[str]:
    for node in block.nodes():
        yield node.kind()
        for inner in node.blocks():
            yield from _kinds(inner)


def _runs_when_loaded(path: Path) -> EngineError:
    return _refusal("code", path, "would run a program of its own while it is opened; it was not opened", _WEIGHTS)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].removesuffix(".")[:300]


def _refusal(code: str, path: Path, problem: str, advice: str) -> EngineError:
    return EngineError(f"script-{code}", f"The TorchScript archive '{path}' {problem}. {advice}.")
