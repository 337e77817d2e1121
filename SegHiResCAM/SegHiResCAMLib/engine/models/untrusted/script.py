"""TorchScript archives: programs for PyTorch's own interpreter, let in only where they do nothing but compute tensors.

Loading compiles what `code/` holds and would run methods called `__setstate__`; calling a module would run its hooks; a script could write files
(`aten::save`, `aten::from_file`). Hence: archives are unpacked within bounds, looked at (`script_code.py`) and packed anew, so that PyTorch's reader
sees what was looked at; all functions of the compiled program may only use the operations of networks (`script_graphs.py`); and what is run is the
forward pass itself.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.free_memory import is_out_of_memory, refuse_out_of_memory
from SegHiResCAMLib.engine.models.untrusted.archive import files_in, is_zip, unpacked
from SegHiResCAMLib.engine.models.untrusted.script_code import RefusedScriptError, check_files, script_files
from SegHiResCAMLib.engine.models.untrusted.script_graphs import RefusedGraphError, check_functions
from SegHiResCAMLib.writing.temporary import temporary_folder


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
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a stranger's texts
                return self.script.forward(images)  # not the module, which would run hooks as well
        except (RuntimeError, torch.jit.Error) as error:
            if is_out_of_memory(error):
                raise  # fewer windows at once may fit
            size = " x ".join(str(length) for length in images.shape[2:])
            raise EngineError(
                "script-failed",
                f"The script '{self.file}' cannot compute with {images.shape[1]} channel(s) of {size} voxels: {_last_line(error)}. "
                "Ask the model's author which input it takes.",
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
        try:
            check_files(folder)
        except RefusedScriptError as error:
            raise _refusal(error.code, path, str(error), _DAMAGED if error.code == "damaged" else _WEIGHTS) from error
        script = _load(folder, path)
    for name, tensor in script.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise _refusal("not-finite", path, f"holds NaN or infinite weights, in '{name[:100]}'", _OTHER)
    network = ScriptNetwork(script, str(path))
    return network.float().eval().requires_grad_(False)


_DAMAGED = "Copy it again, or ask the model's author for the weights alone"
_OTHER = "Ask the model's author for other weights; the training may have diverged"
_WEIGHTS = "Ask the model's author for the weights alone, 'models/model.pt' of the bundle, or torch.save(model.state_dict(), 'model.pt')"


def _load(folder: Path, path: Path) -> torch.nn.Module:
    """Packed anew: two readers of one archive can see different files in it."""
    with temporary_folder("script") as temporary:
        anew = temporary / "script.pt"
        with zipfile.ZipFile(anew, "w") as packed:
            for file in script_files(folder):
                packed.write(file, f"archive/{file.relative_to(folder).as_posix()}")
        unit = torch._C.CompilationUnit()  # as torch.jit.load, which keeps it to itself
        try:
            program: Any = torch._C.import_ir_module(unit, str(anew), torch.device("cpu"), {}, False)  # type: ignore[call-arg]
            check_functions(unit)
            wrap: Callable[[Any], torch.nn.Module] = torch.jit._recursive.wrap_cpp_module
            script = wrap(program)
        except RefusedGraphError as error:
            raise _refusal("code", path, str(error), _WEIGHTS) from error
        except Exception as error:  # its parser and its unpickler may fail in any way
            refuse_out_of_memory(error, f"'{path}'")
            problem = f"is damaged, or made by another version of PyTorch than {torch.__version__}"
            raise _refusal("damaged", path, problem, _DAMAGED) from error
    if not program._has_method("forward"):
        raise _refusal("damaged", path, "has no forward pass", _WEIGHTS)
    return script


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].removesuffix(".")[:300]


def _refusal(code: str, path: Path, problem: str, advice: str) -> EngineError:
    return EngineError(f"script-{code}", f"The TorchScript archive '{path}' {problem}. {advice}.")
