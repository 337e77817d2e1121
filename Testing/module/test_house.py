"""The house rules that no linter knows: who may name what, how long a function is, and where state may change."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "SegHiResCAM/SegHiResCAMLib"
FILES = sorted(LIBRARY.rglob("*.py"))
LINES = 60


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


def test_only_its_reader_and_the_lists_of_models_and_of_layouts_know_nnunet() -> None:
    known = {
        inside(file)
        for file in FILES
        for word in words_of_code(file)
        if "nnunet" in word.casefold().replace("-", "").replace("_", "")
    }
    assert {name for name in known if not name.startswith("engine/models/nnunet/")} == {
        "cli/cohort.py",
        "engine/models/open.py",
        "study/layouts.py",
    }


LAYER_CLASS = re.compile(
    r"(nn\.)?(_ConvNd|Conv(Transpose)?[123]d|conv(_transpose)?[123]d|\w*(Batch|Instance|Group|Layer)Norm([123]d)?|\w*(Max|Avg)Pool[123]d)"
)


def test_one_table_knows_the_layer_classes_of_torch() -> None:
    """Readers of models build networks of them; whoever explains a network asks the table."""
    known = {
        inside(file)
        for file in FILES
        for word in words_of_code(file)
        if not inside(file).startswith("engine/models/") and LAYER_CLASS.fullmatch(word)
    }
    assert known == {"engine/cam/layer_classes.py"}


def test_no_function_is_longer_than_one_can_see() -> None:
    found = {
        f"{inside(file)}: {node.name}"
        for file in FILES
        for node in nodes(file)
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > LINES
    }
    assert found == set()


def test_no_function_changes_variables_of_another() -> None:
    found = {inside(file) for file in FILES for node in nodes(file) if isinstance(node, ast.Nonlocal | ast.Global)}
    assert found == set()


@pytest.mark.parametrize("file", ["engine/models/open.py"])
def test_the_words_of_code_are_found(file: str) -> None:
    assert "open_nnunet" in set(words_of_code(LIBRARY / file))


FACES = {"cli", "panel", "logic", "records"}
"""Rooms whose modules are called after what they show, do or record; the rest of the library names a thing once."""

TWICE = {"__init__", "__main__", "errors", "demo", "inputs"}
"""Modules that every room may have, or that are a command and what it does."""


def test_no_two_modules_share_a_name_but_those_of_the_faces() -> None:
    named: dict[str, set[str]] = {}
    for file in FILES:
        if inside(file).split("/")[0] not in FACES and file.stem not in TWICE:
            named.setdefault(file.stem, set()).add(inside(file))
    assert [files for files in named.values() if len(files) > 1] == []


def test_every_file_that_the_map_of_the_house_names_is_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = {name.strip("/") for name in re.findall(r"`([\w./-]+(?:\.py|/))`", text)}
    there = {
        f"/{path.relative_to(ROOT).as_posix()}"
        for part in ("SegHiResCAM", "Testing")
        for path in [ROOT / part, *(ROOT / part).rglob("*")]
    }
    assert [name for name in sorted(named) if not any(path.endswith(f"/{name}") for path in there)] == []


def test_no_two_classes_share_a_name() -> None:
    named: dict[str, set[str]] = {}
    for file in FILES:
        for node in nodes(file):
            if isinstance(node, ast.ClassDef):
                named.setdefault(node.name, set()).add(inside(file))
    assert {name: files for name, files in named.items() if len(files) > 1} == {}
