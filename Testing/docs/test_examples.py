"""Every example of README.md and docs/ runs: shell blocks of the command and Python blocks, page by page, from top to bottom."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import types
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import jsonschema
import pytest
from docs.workshop import fill
from harness.desktop import module_without_qt
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import read_volume
from SegHiResCAMLib.resources import resource
from SegHiResCAMLib.scene.headless import HeadlessApplication, headless_application
from SegHiResCAMLib.scene.volumes import add_volume

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
NOT_RUN = "<!-- not run -->"
"""On the line before a block: it needs what no test has."""

OTHERS = ("make", "pip", "cmake", "PythonSlicer", "PYTHONPATH=SegHiResCAM:Testing")
"""What blocks that are not run begin with."""

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A block of a page."""

    language: str
    text: str

    @property
    def is_command(self) -> bool:
        return self.language in ("", "bash", "sh") and self.text.startswith("seghirescam ")

    @property
    def is_python(self) -> bool:
        return self.language == "python"

    @property
    def is_for_slicer(self) -> bool:
        return self.is_python and "slicer." in self.text


def examples(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [
        Example(block[2], dedent(block[3]))
        for block in BLOCK.finditer(text)
        if not text[: block.start()].endswith(f"{NOT_RUN}\n")
    ]


def pages(kind: str) -> list[Any]:
    return [
        pytest.param(page, id=page.relative_to(ROOT).as_posix())
        for page in PAGES
        if any(getattr(one, kind) for one in examples(page))
    ]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workshop")
    fill(folder)
    return folder


@pytest.fixture
def here(workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workshop is the current folder, and nobody's settings are used."""
    monkeypatch.chdir(workshop)
    monkeypatch.setenv("SEGHIRESCAM_CATALOGUE", str(tmp_path / "catalogue.json"))
    monkeypatch.setenv("SEGHIRESCAM_CACHE", str(tmp_path / "cache"))
    return workshop


def run_command(text: str) -> None:
    """Line by line. What a reader does by hand after `describe` is done: the draft's open questions are settled."""
    for line in text.replace("\\\n", " ").splitlines():
        arguments = shlex.split(line)[1:]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}\n{result.stderr}"
        if arguments[0] == "describe":
            draft = Path(arguments[1]).with_suffix(".json")
            content = json.loads(draft.read_text(encoding="utf-8"))
            del content["to_do"]
            draft.write_text(json.dumps(content), encoding="utf-8")


def run_python(text: str, **names: Any) -> None:
    file = Path("example.py")
    file.write_text(text, encoding="utf-8")
    runpy.run_path(str(file), names)


@pytest.mark.parametrize("page", pages("is_command"))
def test_the_commands_of_a_page_run(page: Path, here: Path) -> None:
    for example in examples(page):
        if example.is_command:
            run_command(example.text)


@pytest.mark.parametrize("page", pages("is_python"))
def test_the_python_of_a_page_runs(page: Path, here: Path) -> None:
    for example in examples(page):
        if example.is_python and not example.is_for_slicer:
            run_python(example.text)


@pytest.fixture(scope="module")
def application() -> Iterator[HeadlessApplication]:
    with headless_application() as application:
        yield application


@pytest.fixture(scope="module")
def logic(application: HeadlessApplication) -> Iterator[Any]:
    with module_without_qt(application) as module:
        logic = module.SegHiResCAMLogic()
        yield logic
        logic.explainer.close()


@pytest.mark.parametrize("page", pages("is_for_slicer"))
def test_the_python_of_a_page_runs_in_3d_slicers_console(
    page: Path, here: Path, application: HeadlessApplication, logic: Any
) -> None:
    volume = read_volume("ct.nii.gz")
    node = add_volume(application.scene, volume[0].numpy(), volume.affine.numpy(), "CT")
    slicer = types.SimpleNamespace(util=types.SimpleNamespace(getModuleLogic={"SegHiResCAM": logic}.get))
    for example in examples(page):
        if example.is_for_slicer:
            run_python(example.text.replace("/path/to", str(here)), slicer=slicer, volumeNode=node)


@pytest.mark.parametrize(("page", "schema"), [("checkpoint", "model"), ("catalogue", "catalogue")])
def test_the_json_of_a_page_follows_its_schema(page: str, schema: str) -> None:
    rules = json.loads(resource("Schemas", f"{schema}.schema.json").read_text(encoding="utf-8"))
    found = [one.text for one in examples(ROOT / f"docs/models/{page}.md") if one.language == "json"]
    assert found
    for text in found:
        jsonschema.validate(json.loads(text), rules)


def test_every_block_without_a_language_is_run_or_known() -> None:
    pages = [page for page in PAGES if page.name != "architecture.md"]  # whose blocks are drawings
    blocks = [one.text for page in pages for one in examples(page) if not one.language]
    assert {text.split()[0] for text in blocks} <= {"seghirescam", *OTHERS}
