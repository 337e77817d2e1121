"""The files in a TorchScript archive, looked at before PyTorch compiles or unpickles any of them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from SegHiResCAMLib.engine.models.untrusted.pickled_content import RefusedPickleError, check_nesting, check_pickle

MAX_CODE = 4 << 20
"""Bytes. Those of a traced SwinUNETR are a tenth of it."""
MAX_PICKLE = 64 << 20
MAX_DEPTH = 150
"""Of expressions and blocks in one another; PyTorch's parser calls itself for each."""

_RUNS_UNASKED = re.compile(rb"__[gs]etstate__|__forward_(?:pre_)?hooks__|torch\s*\.\s*classes")
_PICKLES = ("constants.pkl", "data.pkl")
_NEEDED = re.compile(r"(?:\.data/)?version|byteorder|(?:constants|data)\.pkl|(?:constants|data)/[^/]+|code/.+\.py")
_NAMES = frozenset(
    {"torch.jit._pickle.build_intlist", "torch.jit._pickle.build_tensorlist", "torch.jit._pickle.build_doublelist"}
) | {
    "torch.jit._pickle.build_boollist",
    "torch.jit._pickle.restore_type_tag",
}


class RefusedScriptError(Exception):
    """It runs something unasked (`code`), or is damaged; the text completes "the archive ..."."""

    def __init__(self, code: str, problem: str) -> None:
        super().__init__(problem)
        self.code = code


def check_files(folder: Path) -> None:
    """Refuse an archive that runs code of its own while it is loaded, or that native readers cannot take.

    Args:
        folder: The archive, unpacked.

    Raises:
        RefusedScriptError: See there.
    """
    files = script_files(folder)
    code = [file for file in files if file.relative_to(folder).parts[0] == "code"]
    if sum(file.stat().st_size for file in code) > MAX_CODE:
        raise RefusedScriptError("large", f"holds more than {MAX_CODE >> 20} MiB of code, unlike any network")
    for file in code:
        _check_code(file.read_bytes())
    limit = sum(file.stat().st_size for file in files)
    for name in _PICKLES:
        _check_pickle(folder / name, limit)


def script_files(folder: Path) -> list[Path]:
    """The files that PyTorch needs to load a network; others (sources, traced inputs, older formats) are none of its business."""
    found = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return [file for file in found if _NEEDED.fullmatch(file.relative_to(folder).as_posix())]


def _check_code(code: bytes) -> None:
    if _RUNS_UNASKED.search(code):
        raise RefusedScriptError("code", "would run a program of its own while it is opened or used; it was not opened")
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RefusedScriptError("damaged", "holds code that cannot be read") from error
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise RefusedScriptError("damaged", f"holds code that is nested deeper than {MAX_DEPTH} levels")


def _check_pickle(file: Path, limit: int) -> None:
    """Tensors, plain values, and objects of classes that the archive itself defines."""

    def stored(key: str) -> int:
        if not re.fullmatch(r"[\w.-]+", key):
            raise RefusedPickleError("damaged", "the name of a storage")
        return file.with_suffix("").joinpath(key).stat().st_size

    def may_call(name: str) -> bool:
        own = name.startswith("__torch__.") and not name.startswith("__torch__.torch.classes")
        return own or name in _NAMES

    if not file.is_file() or file.stat().st_size > MAX_PICKLE:
        raise RefusedScriptError("damaged", f"has no {file.name}, or one of more than {MAX_PICKLE >> 20} MiB")
    try:
        check_nesting(check_pickle(file.read_bytes(), stored, may_call, limit))
    except RefusedPickleError as error:
        if error.kind in ("code", "unknown"):
            problem = (
                f"refers to '{error.what[:100] or 'names that are put together'}' while it is opened; it was not opened"
            )
            raise RefusedScriptError("code", problem) from error
        raise RefusedScriptError("damaged", f"is damaged: {error.what}") from error
