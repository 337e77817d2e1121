"""The walk of a region that the architecture describes is the one that it takes: a run of the command is traced."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_bundle import write_tiny_bundle
from typer.testing import CliRunner

import SegHiResCAMLib
from SegHiResCAMLib.cli import app
from SegHiResCAMLib.records.regions import Sphere

pytestmark = pytest.mark.engine

ROOT = Path(SegHiResCAMLib.__path__[0])
ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"
BECOMES = {"weights_of", "pixel_set_of", "per_image", "cotangents"}
"""Functions that return what the region has become."""
SEES_EVERYTHING = "engine/cam/lean.py"
"""Stands between PyTorch and every operation, so this one's operands pass through its hands as well."""


class Walk:
    """The modules whose functions hold the region, or the voxels that it becomes, until the gradient is taken."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self._forms: dict[int, Any] = {}
        self._is_over = False

    def __call__(self, frame: FrameType, event: str, returned: Any) -> None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if self._is_over or event not in ("call", "return") or not file.startswith(str(ROOT)):
            return
        held = [*frame.f_locals.values()]
        if event == "return":
            held.append(returned)
            for form in returned if isinstance(returned, list) else [returned]:
                if form is not None and (type(form) is Sphere or name in BECOMES):
                    self._forms[id(form)] = form
        module = Path(file).relative_to(ROOT).as_posix()
        if module not in self.modules and any(self._is_it(one) for one in held):
            self.modules.append(module)
        self._is_over = name == "gradients_at" and event == "return"

    def _is_it(self, value: Any) -> bool:
        parts = value if isinstance(value, list | tuple) else ()
        return id(value) in self._forms or any(id(one) in self._forms for one in parts)


@contextmanager
def traced(walk: Walk) -> Iterator[None]:
    before = sys.getprofile()
    sys.setprofile(walk)
    try:
        yield
    finally:
        sys.setprofile(before)


def written_walk() -> list[str]:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    (walk,) = re.findall(r"\*\*A region, from the command to the gradient\.\*\*(.*?)Between them", text, re.DOTALL)
    return re.findall(r"`([\w/]+\.py)`", walk)


def test_a_region_walks_as_the_architecture_says(tmp_path: Path) -> None:
    volume = tmp_path / "volume.nrrd"
    values = np.random.default_rng(0).normal(size=(24, 24, 24)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(volume))
    model, region = str(write_tiny_bundle(tmp_path / "model")), "sphere:-12,-12,12,5"
    walk = Walk()
    with traced(walk):
        result = CliRunner().invoke(
            app,
            ["explain", str(volume), "--model", model, "-s", "tumour", "--region", region, "-o", str(tmp_path / "why")],
        )
    assert result.exit_code == 0, result.output
    assert sorted({*walk.modules} - {SEES_EVERYTHING}) == sorted(written_walk())
    assert len(written_walk()) <= 12
