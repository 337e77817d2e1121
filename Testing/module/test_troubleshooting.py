"""Every message that docs/troubleshooting.md explains is one that the program can say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r'^\*\*Problem:\*\* "(.+)"$', TEXT, re.MULTILINE)
PARTS = ("Problem", "Explanation", "Solution")


def templates() -> str:
    """Every text in the source, a line each; what is filled in is ….

    A brace in a text that is formatted later is filled in, too.
    """
    found = []
    for file in (ROOT / "SegHiResCAM/SegHiResCAMLib").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                values = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"\{\w+\}", "…", node.value))
    return "\n".join(found)


SAID = templates()


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_one_that_the_program_says(message: str) -> None:
    assert len(message) > 30
    assert message.strip("… ") in SAID


def test_every_problem_has_an_explanation_and_a_solution() -> None:
    assert len(QUOTED) > 20
    for problem in TEXT.split("**Problem:**")[1:]:
        assert all(f"**{part}:**" in problem for part in PARTS[1:])
