"""The command where standard output is closed, full or of few letters, as a shell, a batch system or a pipe makes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
COMMANDS = [["-V"], ["explain", "--help"], pytest.param(["models", "--json"], marks=pytest.mark.engine)]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")


def shell(command: list[str | bytes], redirection: str = "", **environment: str) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of the command under a shell."""
    python = [sys.executable, "-m", "SegHiResCAMLib", *command]
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" "$@" {redirection}', *python],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(("redirection", "reason"), [(">&-", b"(it is closed)"), (">/dev/full", b"(No space left")])
def test_an_answer_that_cannot_be_written_is_one_line_and_exits_with_1(
    command: list[str], redirection: str, reason: bytes
) -> None:
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    code, _, err = shell([*command], redirection)
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith(b"The answer could not be written to standard output ")
    assert reason in line


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    code, out, err = shell(["explain", "--help"], "| head -c 1 | wc -c")
    assert (code, out.strip(), err) == (0, b"1", b"")


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_a_message_that_nobody_hears_changes_no_exit_code(redirection: str) -> None:
    assert shell(["explain"], redirection) == (2, b"", b"")


def test_a_file_never_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    code = (
        "import sys; from SegHiResCAMLib.cli.streams import prepare_streams; prepare_streams()\n"
        f"file = open({str(tmp_path / 'result')!r}, 'w'); assert file.fileno() > 2; file.write('whole')"
    )
    command = ["/bin/sh", "-c", '"$0" "$@" <&- >&- 2>&-', sys.executable, "-c", code]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=True)
    assert (tmp_path / "result").read_text() == "whole"


def test_letters_that_a_locale_lacks_are_escaped() -> None:
    code, out, err = shell(["layers", "--Nière\udcff腎[/b]\u202e"], **ASCII)
    assert (code, out) == (2, b"")
    assert err.isascii()
    assert b"[/b]" in err
    code, out, _ = shell(["explain", "--help"], **ASCII)
    assert code == 0
    assert out.isascii()


@pytest.mark.engine
@pytest.mark.parametrize("environment", [{}, ASCII], ids=["as it is", "ASCII"])
def test_a_name_that_is_no_utf_8_is_quoted_escaped(environment: dict[str, str]) -> None:
    code, out, err = shell(["info", b"no\xffsuch\xe8 [/b]"], **environment)
    assert (code, out) == (1, b"")
    assert rb"'no\udcffsuch\udce8 [/b]'" in err


@pytest.mark.parametrize(
    "command", [["demo"], ["explain", "ct.nii", "-m", "m", "-s", "kidney"]], ids=lambda one: one[0]
)
def test_a_folder_in_which_no_scene_can_be_written_is_refused_before_anything_is_computed(command: list[str]) -> None:
    """MRML's writers abort the program over a name that is not UTF-8."""
    code, out, err = shell([*command, "-o", b"no\xffsuch/out"])
    assert (code, out) == (2, b"")
    assert rb"no\udcffsuch/out' is not UTF-8" in err


@pytest.mark.engine
def test_json_is_ascii_whatever_the_locale() -> None:
    code, out, _ = shell(["models", "--json"], SEGHIRESCAM_CATALOGUE="/nowhere/Nière\udcff.json", **ASCII)
    assert code == 0
    assert out.isascii()
    assert json.loads(out)["catalogue"].startswith("/nowhere/Ni")


@pytest.mark.engine
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_volume_is_not_written_under_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    """ITK's writers abort the program over it."""
    from SegHiResCAMLib.engine.errors import EngineError
    from SegHiResCAMLib.engine.images.volume import volume_from_array, write_volume

    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/no\xffsuch.mha"))
    with pytest.raises(EngineError, match="is not UTF-8"):
        write_volume(volume_from_array(np.zeros((2, 2, 2)), np.eye(4)), path)
