"""The house rules that no linter knows: who may name what, how long a function is, and where state may change."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "SegHiResCAM/SegHiResCAMLib"
FILES = sorted(LIBRARY.rglob("*.py"))
LINES = 60

TOO_LONG = {
    *("cli/explain.py: explain", "engine/answer/explain.py: explain_segments"),
    *("logic/explainer.py: explain", "logic/export.py: export_steps"),
}
"""Functions that are still to be taken apart; none may join them."""

CHANGED_FROM_WITHIN = {"engine/answer/explain.py", "worker/jobs.py"}
"""Files with closures that still change what surrounds them; none may join them."""


def inside(file: Path) -> str:
    return file.relative_to(LIBRARY).as_posix()


def nodes(file: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def documentation(tree: ast.AST) -> set[int]:
    """Texts that stand by themselves: docstrings, of modules, functions, classes and constants."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def words_of_code(file: Path) -> Iterator[str]:
    """Names and texts in the code of a file; docstrings and comments may say where a thing comes from."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    left_out = documentation(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.value
        for field in ("id", "attr", "arg", "name", "module", "asname"):
            word = getattr(node, field, None)
            if isinstance(word, str):
                yield word


def test_only_its_reader_and_the_list_of_readers_know_nnunet() -> None:
    known = {
        inside(file)
        for file in FILES
        for word in words_of_code(file)
        if "nnunet" in word.casefold().replace("-", "").replace("_", "")
    }
    assert {name for name in known if not name.startswith("engine/models/nnunet/")} == {"engine/models/open.py"}


def test_no_function_is_longer_than_one_can_see() -> None:
    found = {
        f"{inside(file)}: {node.name}"
        for file in FILES
        for node in nodes(file)
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > LINES
    }
    assert found <= TOO_LONG


def test_no_function_changes_variables_of_another() -> None:
    found = {inside(file) for file in FILES for node in nodes(file) if isinstance(node, ast.Nonlocal | ast.Global)}
    assert found <= CHANGED_FROM_WITHIN


@pytest.mark.parametrize("file", ["engine/models/open.py"])
def test_the_words_of_code_are_found(file: str) -> None:
    assert "open_nnunet" in set(words_of_code(LIBRARY / file))
