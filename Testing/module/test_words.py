"""What people read is in the words of docs/glossary.md: messages, panel and documentation hold none of the phrases that it replaces."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
LIB = ROOT / "SegHiResCAM/SegHiResCAMLib"

REPLACED = {
    r"\boutlin(e|es|ed|ing)\b": "segment, segmentation; contour for a drawn border",
    r"\b(speaks?|spoke) (for|against)\b": "positive or negative evidence; caveats",
    r"\b(told|tells)\b": "reported, shown, says",
    r"\b(taken|takes|take) over\b": "applied, followed",
    r"\b(let|lets) go\b|\b(given|gives?) up\b|\bthrown? away\b|\bthrows away\b": "released, cancelled, deleted, discarded",
    r"\bfor want of\b|\bmemory is full\b": "out of memory",
    r"(?<!there )\b(is|are|was|were) no (?!longer|more|larger)": "is not a",
    r"\bno numbers?\b|\bnot numbers\b": "NaN or infinite",
    r"\bsenders?\b": "the model's author or provider",
    r"\bgraphics processors?\b": "GPU",
    r"\bstacks? of images\b": "slice batch, volume",
    r"(?<!-)\bstitched\b(?!-|\.py)": "sliding-window (blended) prediction",
    r"\b(network|model|layer|position|location|method)s? (knows?|sees?|looks? at|has seen)\b": "classes, input, receptive field",
    r"\bpictures?\b(?![-_.])": "figure, image; in DICOM: Secondary Capture",
    r"(?<!true )(?<!2 )(?<!two )\bsentences?\b": "message",
    r"\bset against\b|\brather than\b": "contrast with",
    r"\bweigh(s|ed)?\b": "weighted",
    r"\b(drawn )?anew\b": "again, rendered again",
    r"\bpainted\b": "overwrites",
    r"\bit is no diagnosis\b": "not for diagnostic use",
    r"\bthe facts\b": "metadata, summary, provenance",
}
"""Of what the glossary replaces, and what it has instead."""

SPELLING = {
    r"(?<!Apache )(?-i:\blicense\b)": "licence",
    r"\btumor\b": "tumour",
    r"\bcolor\b": "colour",
    r"\bnormalization\b": "normalisation",
}
"""In the panel and in the documentation; code has keys and names of others."""

DOCS = sorted([*ROOT.glob("*.md"), *(page for page in ROOT.glob("docs/**/*.md") if page.name != "glossary.md")])
SOURCES = sorted([*LIB.rglob("*.py"), ROOT / "SegHiResCAM/SegHiResCAM.py"])
FORMS = sorted(ROOT.glob("SegHiResCAM/Resources/UI/*.ui"))
SCHEMAS = sorted(ROOT.glob("SegHiResCAM/Resources/**/*.json"))


def prose(page: str) -> str:
    """What people read of a page: without code, targets of links and comments."""
    without = re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->", " ", page, flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)|https?://\S+", "]", without)


def said(source: str) -> Iterator[str]:
    """Texts of a module that people may read: all with more than one word, and the docstrings of commands, which are their help."""
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            is_command = isinstance(node, ast.FunctionDef) and any(
                ".command" in ast.unparse(one) for one in node.decorator_list
            )
            docstrings |= {id(one.value) for one in node.body if isinstance(one, ast.Expr) and not is_command}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and " " in node.value
        ):
            yield node.value


def found(text: str, replaced: dict[str, str]) -> list[str]:
    """Every phrase with what stands around it."""
    return [
        f"...{text[max(0, hit.start() - 40) : hit.end() + 40]!r}: {instead}"
        for pattern, instead in replaced.items()
        for hit in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_messages_are_in_the_words_of_the_glossary(file: Path) -> None:
    assert [hit for text in said(file.read_text(encoding="utf-8")) for hit in found(text, REPLACED)] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_are_in_the_words_of_the_glossary(page: Path) -> None:
    assert found(prose(page.read_text(encoding="utf-8")), REPLACED | SPELLING) == []


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_panel_is_in_the_words_of_the_glossary(form: Path) -> None:
    texts = [one.text or "" for one in ElementTree.parse(form).iter("string")]
    assert [
        hit
        for text in texts
        for hit in found(
            text.replace("&", ""), REPLACED | SPELLING | {"pixel set": "explain what", "beside it:": "compare with"}
        )
    ] == []


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: file.relative_to(ROOT / "SegHiResCAM/Resources").as_posix())
def test_descriptions_in_json_are_in_the_words_of_the_glossary(file: Path) -> None:
    assert [
        hit for text in descriptions(json.loads(file.read_text(encoding="utf-8"))) for hit in found(text, REPLACED)
    ] == []


def descriptions(value: object) -> Iterator[str]:
    """Of any depth."""
    if isinstance(value, dict):
        yield from (text for key, text in value.items() if key == "description" and isinstance(text, str))
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from descriptions(one)
