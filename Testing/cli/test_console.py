"""What the command shows is what was to be said."""

from __future__ import annotations

import pytest
import typer

from SegHiResCAMLib.cli.console import fail


def test_brackets_and_colons_of_a_sentence_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """As in names of files and commands: a console would take them for colours and pictures."""
    sentence = "'ct[1].nii' needs `m[k]`, [bold] and :smile:."
    with pytest.raises((SystemExit, typer.Exit)):
        fail(sentence)
    assert capsys.readouterr().err.strip() == sentence
