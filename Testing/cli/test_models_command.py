"""Models on the command line, as a user asks for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.networks import nets
from typer.testing import CliRunner

from SegHiResCAMLib.cli import app


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGHIRESCAM_CATALOGUE", str(tmp_path / "settings" / "catalogue.json"))
    monkeypatch.setenv("SEGHIRESCAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "My net.pt"
    torch.save(nets.UNet(3, 1, 3, (2, 4), (2,)).state_dict(), path)
    return path


def test_models_lists_what_there_is() -> None:
    code, out, _ = run("models")
    assert code == 0
    assert all(
        text in out
        for text in ("kidney-phantom-2d", "kidney-phantom-3d", "kidney, tumour, cyst", "Apache-2.0", "0 bytes")
    )
    facts = json.loads(run("models", "--json")[1])
    assert [model["name"] for model in facts["models"]] == ["kidney-phantom-2d", "kidney-phantom-3d"]
    assert all(model["present"] for model in facts["models"])


def test_info_tells_what_a_model_is() -> None:
    code, out, err = run("info", "kidney-phantom-3d", "--json")
    assert code == 0, err
    answered = json.loads(out)
    facts, layers = answered["model"], answered["layers"]
    assert (facts["network"], facts["parameters"], facts["spatial_dims"]) == ("UNet", 669_873, 3)
    assert (facts["licence"], facts["spacing_mm"], facts["window"]) == ("Apache-2.0", [3, 3, 3], [64, 64, 48])
    assert [label["terminology"]["type"]["value"] for label in facts["labels"]] == [
        "64033007",
        "108369006",
        "367643001",
    ]
    regions = [label["terminology"]["region"] for label in facts["labels"]]
    assert [region and region["value"] for region in regions] == [None, "64033007", "64033007"]
    assert layers["suggested"] in [layer["name"] for layer in layers["layers"]]
    assert "bundle" in facts["format"]
    text = run("info", "kidney-phantom-3d")[1]
    assert all(
        one in text for one in ("669,873 parameters", "Kidney 64033007", "3 x 3 x 3 mm", facts["sha256"], "suggested")
    )


def test_describe_writes_a_draft_that_opens_once_it_is_finished(weights: Path) -> None:
    code, out, err = run("describe", weights)
    assert code == 0, err
    assert all(text in out for text in ("UNet", "all weights fit", "strides: a guess", "My net.json"))
    draft = weights.with_suffix(".json")
    code, _, err = run("info", weights)
    assert (code, "is a draft" in err) == (1, True)
    content = json.loads(draft.read_text())
    content["labels"] = [{"name": "kidney"}, {"name": "cyst"}]
    del content["to_do"]
    draft.write_text(json.dumps(content))
    assert run("info", weights)[0] == 0
    code, _, err = run("describe", weights)
    assert (code, "exists already" in err) == (1, True)
    assert json.loads(draft.read_text()) == content
    code, out, _ = run("describe", weights, "--json", "-o", weights.with_name("other.json"))
    assert json.loads(out)["network"]["class"] == "UNet"


def test_a_model_is_added_used_by_name_and_removed(weights: Path) -> None:
    content = {
        "network": {"class": "UNet", "arguments": {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [2, 4], "strides": [2]}},
        "labels": [{"name": "kidney"}, {"name": "cyst"}],
    }  # fmt: skip
    weights.with_suffix(".json").write_text(json.dumps(content))
    code, out, err = run("models", "add", weights)
    assert code == 0, err
    assert "'my-net'" in out
    assert "my-net" in run("models")[1]
    assert json.loads(run("info", "my-net", "--json")[1])["model"]["name"] == "My net"
    code, _, err = run("models", "add", weights)
    assert (code, "--name" in err) == (1, True)
    assert run("models", "remove", "my-net")[0] == 0
    assert "my-net" not in run("models")[1]
    assert weights.exists()


def test_getting_and_clearing_say_where_and_how_much(tmp_path: Path, weights: Path) -> None:
    from SegHiResCAMLib.engine.models.untrusted.checkpoint import sha256

    file = tmp_path / "settings" / "catalogue.json"
    file.parent.mkdir()
    files = [{"url": weights.as_uri(), "sha256": sha256(weights), "size": 2_500_000}]
    model = {"name": "theirs", "licence": "", "source": "", "labels": [], "files": files}
    file.write_text(json.dumps({"models": [model]}))
    assert "not downloaded, 2.5 MB" in run("models")[1]
    code, out, err = run("models", "get", "theirs")
    assert code == 0, err
    assert str(tmp_path / "cache" / "theirs") in out.replace("\n", "")
    assert "kB were freed" in run("models", "clear")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["info", "absent"], "no file or folder 'absent'"),
        (["models", "get", "absent"], "no model 'absent'"),
        (["models", "remove", "kidney-phantom-2d"], "comes with the program"),
        (["describe", "absent.pt"], "no weights file 'absent.pt'"),
    ],
)
def test_what_goes_wrong_is_one_message_and_exit_code_1(arguments: list[str], says: str) -> None:
    code, _, err = run(*arguments)
    assert code == 1
    assert says in " ".join(err.split())
    assert "Traceback" not in err
