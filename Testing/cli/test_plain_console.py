"""Consoles show text as it is, whoever wrote it, and never cut a name."""

from __future__ import annotations

import io
import sys
import unicodedata
import warnings

import pytest
import typer
from rich.cells import cell_len

from SegHiResCAMLib.cli.console import fail, note
from SegHiResCAMLib.cli.plain_console import PlainConsole, styled
from SegHiResCAMLib.cli.progress_report import progress_on
from SegHiResCAMLib.plain_text import plain

HOSTILE = "a\x1b[31mb\x9b2Jc\rd\ne\u202etxt.exe\u2066f\u200bg\ufeffh\udcffi\x00"
NAME = "encoder.blocks.0.attention.projection.weight_normalised"
ROWS = [["layer", "mm", ""], [NAME, "12", "a note of several words"], ["x", "3 x 3", ""]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(width: int) -> PlainConsole:
    return PlainConsole(file=Terminal(), width=width, color_system=None)


def obeyed(text: str) -> list[str]:
    """What a terminal does not show, but does."""
    return [one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") and one != "\n"]


def test_every_character_of_unicode_that_is_obeyed_or_not_seen_is_replaced() -> None:
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    shown = plain(everything)
    assert obeyed(shown) == []
    assert "\n" not in shown
    letters = [one for one in everything if unicodedata.category(one)[0] in "LNPSM"]
    assert [one for one in letters if plain(one) != one] == []


def test_whatever_is_printed_is_cleaned_and_never_read_as_markup() -> None:
    console = PlainConsole(file=io.StringIO())
    text = f"{HOSTILE} [/b] [bold] :smile: https://a.b 'c' 1"
    console.print(text)
    console.print(styled((text, "bold"), text))
    console.print_rows([[text, (text, "dim")], ["[/x]", ""]])
    note(text, text, console)
    with progress_on(console) as report:
        report(0.5, text)
    terminal = PlainConsole(file=Terminal(), color_system=None)
    with progress_on(terminal) as report:
        report(0.5, f"{HOSTILE} [/b]")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert obeyed(shown) == []
    assert shown.splitlines()[0] == plain(text)
    assert "\\u202etxt.exe" in shown
    assert "[31mb" in terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[31mb" not in terminal.file.getvalue()  # type: ignore[attr-defined]


def test_warnings_of_the_program_are_cleaned_too(capsys: pytest.CaptureFixture[str]) -> None:
    from SegHiResCAMLib.cli.console import job

    with warnings.catch_warnings():
        with job():
            warnings.warn_explicit(f"{HOSTILE} [/b]", UserWarning, "file", 1, module="SegHiResCAMLib.nifti")
        err = capsys.readouterr().err
    assert err.startswith("Note: a [31mb")
    assert obeyed(err) == []


def test_brackets_and_colons_of_a_message_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """As in names of files and commands: a console would take them for colours and pictures."""
    message = "'ct[1].nii' needs `m[k]`, [bold] and :smile:."
    with pytest.raises((SystemExit, typer.Exit)):
        fail(message)
    assert capsys.readouterr().err.strip() == message


def test_rows_in_a_pipe_are_whole_lines() -> None:
    console = PlainConsole(file=io.StringIO(), width=20)
    console.print_rows(ROWS)
    console.print("word " * 40)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[:3] == [
        "layer".ljust(len(NAME)) + "  mm",
        f"{NAME}  12     a note of several words",
        "x".ljust(len(NAME)) + "  3 x 3",
    ]
    assert len(lines) == 4


@pytest.mark.parametrize("width", [5, 40, 66, 80, 200])
def test_no_terminal_is_too_narrow_for_a_name(width: int) -> None:
    console = on_terminal(width)
    console.print_rows(ROWS)
    console.print(
        f"Written: /a/very/{NAME}/file.nrrd and more words than fit into a line of an ordinary terminal window."
    )
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    console.print_whole(
        "Written: /a folder/of many words/that is longer than/any terminal/that is tried here/except for one/file.nrrd"
    )
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "except for one/file.nrrd" in shown.splitlines()[-1]
    assert shown.count(NAME) == 2
    assert "…" not in shown
    assert f"/a/very/{NAME}/file.nrrd" in shown


def test_a_terminal_gets_the_last_cell_wrapped_below_itself() -> None:
    console = on_terminal(40)
    console.print_rows([["key", "one two three four five six seven eight"], ["腎臓", "kidney"]])
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines == ["key   one two three four five six seven", "      eight", "腎臓  kidney"]
    assert max(map(cell_len, lines)) <= 40


def test_no_rows_are_no_lines() -> None:
    console = PlainConsole(file=io.StringIO())
    console.print_rows([])
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
