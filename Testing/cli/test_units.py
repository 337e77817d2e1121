"""The units of a map are those of its provenance wherever a number stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.cli.console import print_explanation
from SegHiResCAMLib.engine.answer.explain import explain
from SegHiResCAMLib.engine.answer.explanation import ExplainRequest
from SegHiResCAMLib.engine.answer.model_layers import model_layers
from SegHiResCAMLib.engine.images.volume import volume_from_array
from SegHiResCAMLib.engine.models import open_model
from SegHiResCAMLib.records.wording import number, percent


def test_the_console_prints_the_units_that_the_files_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = open_model(str(write_tiny_bundle(tmp_path / "model")))
    volume = volume_from_array(noise((16, 16, 16)), np.eye(4))
    first, second = [layer.name for layer in model_layers(model) if not layer.reason][:2]
    for further, units in (((), "logit units"), ((second,), "share of the maximum")):
        found = explain(ExplainRequest.of(volume, model, "tumour", layer=first, refine_with=further))
        assert found.record().units == units
        print_explanation(found)
        said = " ".join(capsys.readouterr().out.split())
        assert f"peak {number(found.peak[0], 4)} {units} at R" in said
        assert f"mean probability {found.mean_probability:.1%}" in said


def test_the_console_prints_which_share_of_the_score_is_explained_or_why_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = open_model(str(write_tiny_bundle(tmp_path / "model")))
    volume = volume_from_array(noise((16, 16, 16)), np.eye(4))

    def printed(**options) -> str:
        found = explain(ExplainRequest.of(volume, model, "tumour", **options))
        print_explanation(found)
        said = " ".join(capsys.readouterr().out.split())
        if found.score_explained and found.score_explained.share is not None:
            share = found.score_explained.map_sum / found.score_explained.score_change
            assert found.record().score_explained.share == share
            assert f"score explained by the sum of the map: {percent(share)}" in said
        return said

    assert "score explained" not in printed()
    assert "score explained by the sum of the map" in printed(score_explained=True)
    assert "not applicable: the values of Seg-Eigen CAM" in printed(score_explained=True, method="seg-eigen-cam")
    integrated = printed(method="seg-integrated-hires-cam")
    assert "score explained by the sum of the map: 10" in integrated or "map: 99 %" in integrated
    assert "steps from the blurred baseline" in integrated
