"""Where the model is wrong, by clicks: the numbers are those of the command, a click leads to the place, and a mistake is explained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
from harness.desktop import Desktop
from typer.testing import CliRunner

from panel.steps import choose, choose_model, choose_segment, explain, idle, segment, segments
from SegHiResCAMLib.cli import app
from SegHiResCAMLib.nrrd import write_nrrd
from SegHiResCAMLib.records.json_form import to_json
from SegHiResCAMLib.records.regions import FalseNegative, FalsePositive, Rim, TruePositive
from SegHiResCAMLib.scene.heatmap import explanation_of
from SegHiResCAMLib.scene.save import save_segmentation
from SegHiResCAMLib.scene.segments import Segment, add_segmentation, segment_array
from SegHiResCAMLib.scene.volumes import volume_array

pytestmark = pytest.mark.engine


@pytest.fixture
def parameters(desktop: Desktop) -> Any:
    return desktop.widget.panel.state.parameters


@pytest.fixture
def segmented(desktop: Desktop, a_volume: Any, a_model: Path) -> Any:
    desktop.ui.volumeSelector.setCurrentNode(a_volume)
    choose_model(desktop, a_model)
    return segment(desktop)


@pytest.fixture
def reference(scene: Any, a_volume: Any, segmented: Any) -> Any:
    """What the model segments, but for a box that it should have left out and one of tumour that it should have had."""
    kidney, tumour = (segment_array(segmented, name, a_volume) for name in ("kidney", "tumour"))
    labels = np.zeros(kidney.shape, np.uint8)
    labels[kidney] = 1
    labels[tumour] = 2
    labels[:6, :6, :6] = 0
    labels[14:20, 10:16, 8:14] = 2
    pair = [Segment("Kidney", 1, (1, 0, 0)), Segment("tumour", 2, (0, 1, 0))]
    return add_segmentation(scene, labels, volume_array(a_volume)[1], pair, a_volume, name="Truth")


@pytest.fixture
def compared(desktop: Desktop, reference: Any) -> Any:
    desktop.ui.referenceSelector.setCurrentNode(reference)
    desktop.ui.compareButton.click()
    idle(desktop)
    return desktop.widget.panel.state.comparison


def rows(table: Any) -> list[list[str]]:
    return [[table.item(row, column).text() for column in range(table.columnCount)] for row in range(table.rowCount)]


def test_tables_have_the_numbers_of_the_command(
    desktop: Desktop, compared: Any, reference: Any, a_volume: Any, a_model: Path, tmp_path: Path
) -> None:
    array, affine = volume_array(a_volume)
    write_nrrd(tmp_path / "ct.nrrd", array, affine, {})
    save_segmentation(reference, tmp_path / "truth.seg.nrrd")
    asked = ["explain", str(tmp_path / "ct.nrrd"), "-m", str(a_model), "-s", "tumour", "-o", str(tmp_path / "why")]
    result = CliRunner().invoke(app, [*asked, "--reference", str(tmp_path / "truth.seg.nrrd")])
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "why/explanation.json").read_text(encoding="utf-8"))["comparison"]
    assert to_json(compared) == told
    shown = rows(desktop.ui.agreementTable)
    assert [row[0] for row in shown] == ["kidney", "tumour"]
    for row, one in zip(shown, compared.agreements, strict=True):
        assert float(row[1]) == pytest.approx(one.dice, abs=0.0051)
        assert float(row[2]) == pytest.approx(one.mean_surface_distance_mm, abs=0.0051)
        assert (float(row[3]), float(row[4])) == pytest.approx((one.volume_ml, one.reference_ml), rel=1e-3)
    listed = rows(desktop.ui.mistakeTable)
    assert len(listed) == len(compared.mistakes)
    volumes = [float(row[2]) for row in listed]
    assert volumes == sorted(volumes, reverse=True)
    assert {row[0].partition(",")[0] for row in listed} == {"false positive", "false negative"}


@pytest.mark.parametrize("kind", ["false-positive", "false-negative"])
def test_a_click_on_a_mistake_leads_there_and_explain_asks_about_it(
    desktop: Desktop, scene: Any, compared: Any, reference: Any, parameters: Any, kind: str
) -> None:
    row, mistake = next((row, one) for row, one in enumerate(compared.mistakes) if one.mistake == kind)
    assert not desktop.ui.explainMistakeButton.enabled
    desktop.ui.mistakeTable.selectRow(row)
    red = scene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    assert red.GetSliceOffset() == pytest.approx(mistake.point_ras_mm[2])
    assert (parameters.pixelSet, segments(desktop)[desktop.ui.segmentTable.currentRow()]) == (
        "chosen mistake",
        mistake.segment,
    )
    desktop.ui.explainMistakeButton.click()
    idle(desktop)
    record = explanation_of(parameters.heatmap)
    assert record is not None, desktop.ui.statusLabel.text
    region = {"false-positive": FalsePositive, "false-negative": FalseNegative}[kind]
    assert record.question.region == region(mistake.point_ras_mm)
    assert record.question.segment == mistake.segment
    assert record.voxel_count == round(mistake.volume_ml * 1000 / (1.5 * 1.5 * 2))
    assert record.comparison == compared
    assert (record.question.contrast is not None) == (kind == "false-negative")


def test_a_heat_map_of_a_mistake_is_checked_and_exported_with_its_tables(
    desktop: Desktop, compared: Any, parameters: Any, tmp_path: Path
) -> None:
    desktop.ui.mistakeTable.selectRow(0)
    desktop.ui.explainMistakeButton.click()
    idle(desktop)
    desktop.ui.checkButton.click()
    idle(desktop)
    assert explanation_of(parameters.heatmap).check is not None, desktop.ui.statusLabel.text
    desktop.ui.folderButton.directory = str(tmp_path)
    desktop.ui.exportButton.click()
    idle(desktop)
    assert {"agreement.csv", "mistakes.csv", "check.csv"} <= {one.name for one in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("chosen", "region"),
    [
        ("false positives", FalsePositive()),
        ("false negatives", FalseNegative()),
        ("true positives", TruePositive()),
        ("rim", Rim()),
    ],
)
def test_all_of_a_kind_is_explained_too(
    desktop: Desktop, segmented: Any, reference: Any, parameters: Any, chosen: str, region: Any
) -> None:
    choose_segment(desktop, "tumour")
    choose(desktop.ui.pixelSetSelector, chosen)
    if chosen != "rim":
        assert desktop.ui.reasonLabel.text == "Choose a reference under Evidence, Mistakes."
        desktop.ui.referenceSelector.setCurrentNode(reference)
    explain(desktop)
    assert explanation_of(parameters.heatmap).question.region == region


def test_the_list_belongs_to_its_reference_volume_and_model(
    desktop: Desktop, compared: Any, reference: Any, parameters: Any
) -> None:
    desktop.ui.mistakeTable.selectRow(0)
    assert desktop.ui.mistakeTable.rowCount
    desktop.ui.referenceSelector.setCurrentNode(None)
    assert desktop.ui.mistakeTable.isHidden()
    assert "reference" in desktop.ui.reasonLabel.text
    desktop.ui.referenceSelector.setCurrentNode(reference)
    assert not desktop.ui.mistakeTable.isHidden()
    other = next(name for name in segments(desktop) if name != compared.mistakes[0].segment)
    choose_segment(desktop, other)
    assert "The chosen mistake is one of" in desktop.ui.reasonLabel.text


def test_a_reference_of_other_names_is_a_message(desktop: Desktop, scene: Any, segmented: Any, a_volume: Any) -> None:
    labels = np.ones((24, 20, 18), np.uint8)
    node = add_segmentation(scene, labels, volume_array(a_volume)[1], [Segment("liver", 1, (1, 0, 0))], a_volume)
    desktop.ui.referenceSelector.setCurrentNode(node)
    desktop.ui.compareButton.click()
    idle(desktop)
    assert "The reference has none of the segments of 'Tiny network'" in desktop.ui.statusLabel.text
    assert desktop.ui.mistakeTable.isHidden()


def test_a_volume_under_a_transform_is_compared_and_shown_where_it_is_seen(
    desktop: Desktop, scene: Any, compared: Any, reference: Any, segmented: Any, a_volume: Any
) -> None:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3) * 9))
    for node in (a_volume, reference, segmented):
        node.SetAndObserveTransformNodeID(transform.GetID())
    desktop.ui.compareButton.click()
    idle(desktop)
    again = desktop.widget.panel.state.comparison
    assert again == compared
    desktop.ui.mistakeTable.selectRow(0)
    yellow = scene.GetSingletonNode("Yellow", "vtkMRMLSliceNode")
    assert yellow.GetSliceToRAS().GetElement(0, 3) == pytest.approx(again.mistakes[0].point_ras_mm[0] + 9)


def test_a_script_compares_and_explains_the_same(
    desktop: Desktop, compared: Any, reference: Any, segmented: Any, a_volume: Any, a_model: Path
) -> None:
    logic = desktop.widget.logic
    found = logic.evidence.compare(a_volume, a_model, reference, mode="auto")
    assert found == compared
    heatmap = logic.explain(
        a_volume, str(a_model), "tumour", pixelSet={"kind": "true-positive"}, referenceNode=reference
    )
    assert explanation_of(heatmap).comparison == compared
