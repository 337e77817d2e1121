"""Kills `seghirescam explain` over an old result at random moments and looks whether anything is mixed or left behind.

    python Testing/kills.py [KILLS]

Each run is a fork of a process that has imported everything, so that the moments fall into the run itself. After each kill another command
starts, as it would the next time; then the folder must hold the old or the new result, whole, and nothing else may be left anywhere.
"""

from __future__ import annotations

import getpass
import json
import os
import random
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from tiny_bundle import noise, write_tiny_bundle

from SegHiResCAMLib.cli import app
from SegHiResCAMLib.engine.images.volume import write_volume

SEGMENTS = ("kidney", "tumour")
NOTES = "notes of the user.txt"


def forked(work: Callable[[], object]) -> int:
    """Do something in a child process without a word; returns its process id."""
    child = os.fork()
    if child:
        return child
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    try:
        work()
    except SystemExit as end:
        os._exit(int(end.code or 0))
    finally:
        os._exit(1)


def command(*arguments: object) -> Callable[[], object]:
    return lambda: app([str(one) for one in arguments])


def ended(child: int) -> int:
    """Its exit code; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def wrong_with(folder: Path) -> str:
    """What is mixed in a result, missing or too much; empty where it is whole."""
    facts = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    if not (folder / "scene.mrb").exists():
        return "no scene"
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if there != sorted([*facts["files"], NOTES]):
        return f"files are {there}, listed are {facts['files']}"
    found = {"JSON": facts["segment"]}
    found["map"] = sitk.ReadImage(str(folder / "heatmap.nrrd")).GetMetaData("SegHiResCAM.segment")
    with zipfile.ZipFile(folder / "scene.mrb") as scene:
        if scene.testzip():
            return "scene.mrb is damaged"
        text = scene.read(next(name for name in scene.namelist() if name.endswith(".mrml"))).decode()
    found["scene"] = next(one for one in SEGMENTS if f"SegHiResCAM.segment:{one}" in text)
    return "" if len(set(found.values())) == 1 else f"mixed: {found}"


def wait_for(condition: Callable[[], bool], limit: float) -> None:
    give_up = time.monotonic() + limit
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.005)


def main(kills: int) -> int:
    random.seed(0)
    with tempfile.TemporaryDirectory() as root:
        place = Path(root)
        model = write_tiny_bundle(place / "model", overlap=0.5)
        volume = place / "volume.nrrd"
        write_volume(MetaTensor(torch.from_numpy(noise((40, 36, 32)))[None], affine=torch.eye(4).double()), volume)
        (place / "temporary").mkdir()
        torchs_own = place / "temporary" / f"torchinductor_{getpass.getuser()}"
        tempfile.tempdir = os.environ["TMPDIR"] = str(place / "temporary")
        folder = place / "out" / "why"

        def explain(segment: str, *more: str) -> Callable[[], object]:
            return command("explain", volume, "-m", model, "-s", segment, "-o", folder, *more)

        assert ended(forked(explain(SEGMENTS[0], "--compare", "seg-grad-cam", "--nifti"))) == 0
        (folder / NOTES).write_text("mine")
        started = time.monotonic()
        assert ended(forked(explain(SEGMENTS[1]))) == 0
        takes = time.monotonic() - started
        outcomes: Counter[str] = Counter()
        for number in range(kills):
            old = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))["segment"]
            new = SEGMENTS[1 - SEGMENTS.index(old)]
            kind = random.choice((signal.SIGKILL, signal.SIGTERM))
            child = forked(explain(new, *(("--nifti",) if number % 2 else ())))
            if number % 3:  # most of them while files are written, which is a small part of a run
                wait_for(lambda: any(place.glob("out/why/.seghirescam-*/new/heatmap.nrrd")), limit=10 * takes)
                time.sleep(random.uniform(0.0, 0.5) * takes)
            else:
                time.sleep(random.uniform(0.02, 1.1) * takes)
            os.kill(child, kind)
            code = ended(child)
            assert ended(forked(command("methods"))) == 0
            problem = wrong_with(folder)
            places = (place / "temporary", place / "out")
            stray = [path.name for one in places for path in one.iterdir() if path not in (folder, torchs_own)]
            found = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))["segment"]
            state = problem or (f"left behind: {stray}" if stray else "new" if found == new else "old")
            outcomes[state] += 1
            print(f"{number + 1:3} {kind.name} exit {code}: {state}", flush=True)
        wrong = sum(count for state, count in outcomes.items() if state not in ("old", "new"))
        print(f"{kills} kills (a run takes {takes:.1f} s): {outcomes['old']} old, {outcomes['new']} new, {wrong} wrong")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
