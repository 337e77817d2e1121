"""MONAI starts without what nothing here uses, and is otherwise the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from SegHiResCAMLib.lean_monai import UNUSED, import_lean_monai

pytestmark = pytest.mark.engine

LIBRARY = str(Path(__file__).parents[2] / "SegHiResCAM")
PROGRAM = """
import json, sys
from SegHiResCAMLib.lean_monai import import_lean_monai
if {lean}:
    import_lean_monai()
import SegHiResCAMLib.worker.answers
imported = sorted(sys.modules)
lacking = sorted(
    f"{{module}}.{{name}}" for module, content in list(sys.modules.items()) if module.startswith("monai.")
    for name, value in vars(content).items()
    if type(value).__name__ == "_LazyRaise" or (name.startswith("has_") and value is False)
)
{then}
print(json.dumps([imported, lacking]))
"""

LACKING = {
    "monai.data.ultrasound_confidence_map",
    "monai.metrics.embedding_collapse",
    "monai.optimizers.lr_finder",
    "monai.transforms.signal.array",
    "monai.transforms.utils_create_transform_ims",
    "monai.utils.jupyter_utils",
    "monai.visualize.utils",
}
"""Plots, metrics of embeddings, filters of one-dimensional signals, ultrasound."""


def run(*, lean: bool, then: str = "") -> tuple[set[str], set[str]]:
    """Modules that were imported, and what MONAI says it does without."""
    program = PROGRAM.format(lean=lean, then=then)
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=LIBRARY)
    imported, lacking = json.loads(said.stdout.splitlines()[-1])
    return set(imported), set(lacking)


def test_only_parts_that_nothing_here_uses_lack_anything() -> None:
    imported, lacking = run(lean=True)
    whole, lacking_anyhow = run(lean=False)
    assert imported.isdisjoint(UNUSED)
    assert {one.rpartition(".")[0] for one in lacking - lacking_anyhow} <= LACKING
    assert lacking_anyhow <= lacking
    assert not {name for name in whole - imported if name.startswith(("monai", "SegHiResCAMLib", "torch."))}


def test_afterwards_they_can_be_imported_and_monai_finds_its_files() -> None:
    then = """
import importlib.resources, importlib.util, matplotlib.pyplot, sklearn.metrics, scipy.signal, monai
assert importlib.resources.files("monai").joinpath("__init__.py").is_file()
assert importlib.util.find_spec("monai").loader.get_source("monai")
"""
    run(lean=True, then=then)


def test_where_monai_is_there_already_nothing_changes() -> None:
    import monai  # noqa: F401

    before = list(sys.meta_path)
    import_lean_monai()
    assert sys.meta_path == before
