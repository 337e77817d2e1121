"""Writes `slicer/__init__.pyi`: 3D Slicer's Python has no types, so mypy takes classes and methods from the slicer-core wheels.

`python Testing/stubs/make.py`. Only the classes that the project names and those they derive from are listed, with their methods' names:
a misspelt method or the wrong kind of node is an error, arguments and results are not checked.
"""

from __future__ import annotations

import re
from pathlib import Path

import slicer

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NAMES = re.compile(r"\bvtk(?:MRML|Slicer|Segment|Oriented|Selection|SubjectHierarchy|Closed|Teem|ITK|Image)\w+")
FUNCTIONS = ("mrmlScene", "app", "modules", "util", "qMRMLWidget")


def classes() -> list[type]:
    """What the project's sources name, with bases that slicer-core defines, bases first."""
    text = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "SegHiResCAM").rglob("*.py"))
    found: dict[str, type] = {}
    for name in sorted(set(NAMES.findall(text))):
        for one in reversed(getattr(getattr(slicer, name, None), "__mro__", ())):
            if getattr(slicer, one.__name__, None) is one:
                found[one.__name__] = one
    return list(found.values())


def method(one: type, name: str) -> str:
    """A method, static where the C++ declaration in its documentation is."""
    if "C++: static" in (getattr(one, name).__doc__ or ""):
        return f"    @staticmethod\n    def {name}(*args: Any) -> Any: ..."
    return f"    def {name}(self, *args: Any) -> Any: ..."


def stub(one: type, known: set[str]) -> str:
    """The class with its own methods."""
    bases = [base.__name__ for base in one.__bases__ if base.__name__ in known] or ["_Object"]
    inherited = {name for base in one.__mro__[1:] if base.__name__ in known for name in vars(base)}
    own = [name for name in sorted(vars(one)) if name[0].isupper() and name not in inherited]
    lines = [method(one, name) for name in own] or ["    ..."]
    return "\n".join([f"class {one.__name__}({', '.join(bases)}):", *lines])


if __name__ == "__main__":
    listed = classes()
    known = {one.__name__ for one in listed}
    objects = sorted({name for one in listed for base in one.__mro__ if base.__name__ not in known for name in vars(base)
                      if name[0].isupper()})  # fmt: skip
    parts = [
        '"""Made by `python Testing/stubs/make.py`."""',
        "from typing import Any",
        "def __getattr__(name: str) -> Any: ...",
        "\n".join(["class _Object:", *(f"    def {name}(self, *args: Any) -> Any: ..." for name in objects)]),
        *(stub(one, known) for one in listed),
    ]
    (HERE / "slicer").mkdir(exist_ok=True)
    (HERE / "slicer" / "i18n.pyi").write_text(
        "def tr(text: str, context: str | None = None) -> str: ...\n", encoding="utf-8"
    )
    (HERE / "slicer" / "__init__.pyi").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
