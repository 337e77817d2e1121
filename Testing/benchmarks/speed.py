"""What each measure for speed on a processor brings: segmenting and explaining, on real networks and one of nnU-Net's.

    SEGHIRESCAM_TEST_DATA=... python Testing/benchmarks/speed.py [FILE] [--rounds N] [--only NAME]

or `make benchmark-speed`, which writes docs/speed.md. Every figure comes from a process of its own, since an allocator is a matter of the whole process, and the ways of a job take turns: A B C
A B C. What was measured is kept in build/benchmark-speed.jsonl, so that a run which was stopped goes on from there; delete that file to begin anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from table import Table, judged, ratio

KEPT = Path("build/benchmark-speed.jsonl")
CHILD = Path(__file__).with_name("speed_child.py")
ROUNDS = 2

INTRODUCTION = """\
# Speed on a processor

{date}, {machine}. Written by `make benchmark-speed`.

What a CPU takes to segment and to explain, in the ways there are. *plain* is PyTorch's forward pass over the same windows in a process that nothing was changed in; *monai* and *nnunet* are the sliding
windows of MONAI and of nnU-Net. *torch* is SegHiResCAM by PyTorch; with *memory kept*, freed memory stays with the process, as the command, the panel's worker and a study's workers do;
*auto* is what they do where OpenVINO is installed, and *preview* is `--precision mixed`. The last column says what computed it. Every figure is from a process of its own, the ways in turns;
the network was converted for OpenVINO before, its check on windows of the job is included. Medians of {rounds} rounds; ratios of passes, within a round; goals in parentheses, values that miss theirs **bold**.

Passes are those of the network, and the stitching; user and system time of an explanation and the peak are of the whole job, with preprocessing and the way back to the volume's grid.
Short numbers are bfloat16: fast on a processor with instructions for them (AMX, AVX512-BF16); what they take on others was not measured.
"""

SEGMENTING = ("plain", "monai", "torch", "torch, memory kept", "auto, memory kept")
EXPLAINING = ("plain", "torch", "torch, memory kept", "preview")


@dataclass(frozen=True)
class Job:
    """One job and the ways in which it is done.

    Attributes:
        name: For people.
        model: A folder of the test data, or one of those that are made.
        layer: To explain at; empty where the job is to segment.
        ways: Of doing it; the first is what the others are divided by.
        goals: Of the ratios of wall time.
        slices: Of the CT: from, to.
    """

    name: str
    model: str
    layer: str
    ways: tuple[str, ...]
    goals: Mapping[str, float]
    slices: tuple[int, int]


BOTTOM = "model.1.submodule.1.submodule.1.submodule.1.submodule"

JOBS = (
    Job("segment, BasicUNet 2D (KiTS19)", "kits19-unet2d", "", SEGMENTING, {"torch, memory kept": 0.8, "auto, memory kept": 0.4}, (32, 96)),
    Job("segment, UNet 3D, batch norm, one window of 224³ (spleen)", "spleen-unet3d", "", SEGMENTING, {}, (50, 114)),
    Job("segment, UNet 3D, batch norm, windows of 96³", "windowed-unet3d", "", SEGMENTING, {"torch, memory kept": 0.8, "auto, memory kept": 0.35}, (50, 114)),
    Job("segment, nnU-Net 3D, instance norm", "nnunet", "", ("plain", "nnunet", *SEGMENTING[2:]), {"torch, memory kept": 0.8, "auto, memory kept": 0.5}, (50, 114)),
    Job("explain, BasicUNet 2D, last block", "kits19-unet2d", "upcat_1", EXPLAINING, {"torch, memory kept": 0.75, "preview": 0.5}, (48, 80)),
    Job("explain, BasicUNet 2D, deepest layer", "kits19-unet2d", "down_4", EXPLAINING, {"torch, memory kept": 1.05, "preview": 0.95}, (48, 80)),
    Job("explain, UNet 3D, batch norm, bottom, one window of 224³ (spleen)", "spleen-unet3d", BOTTOM, EXPLAINING, {"torch, memory kept": 1.2, "preview": 0.5}, (50, 114)),
    Job("explain, UNet 3D, instance norm, bottom, one window of 224³", "instance-unet3d", BOTTOM, EXPLAINING, {"torch, memory kept": 1.2, "preview": 1.0}, (50, 114)),
    Job("explain, UNet 3D, batch norm, bottom, windows of 96³", "windowed-unet3d", BOTTOM, EXPLAINING, {"torch, memory kept": 1.2, "preview": 0.5}, (50, 114)),
    Job("explain, UNet 3D, instance norm, bottom, windows of 96³", "windowed-instance-unet3d", BOTTOM, EXPLAINING, {"torch, memory kept": 1.2, "preview": 1.0}, (50, 114)),
    Job("four segments, nnU-Net 3D", "nnunet", "", ("plain", "four segments", "four segments, memory kept"), {}, (50, 114)),
    Job("the live key, BasicUNet 2D", "kits19-unet2d", "down_4", ("plain", "live"), {}, (64, 65)),
)  # fmt: skip


def main() -> None:
    """Measure what is missing, print all."""
    asked = _asked()
    jobs = [job for job in JOBS if asked.only in job.name]
    KEPT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for job in jobs:
            for number in range(asked.rounds):
                for way in job.ways:
                    if (job.name, way, number) not in _known():
                        _measure(job, way, number, Path(folder))
    text = INTRODUCTION.format(date=f"{date.today():%d %B %Y}", machine=_machine(), rounds=asked.rounds)
    text = "\n".join([text, *(f"{_table(job)}\n" for job in jobs)])
    print(text)
    if asked.file:
        asked.file.write_text(text, encoding="utf-8")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path, help="to be written, too")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="jobs that have this in their name")
    return parser.parse_args()


def _measure(job: Job, way: str, number: int, folder: Path) -> None:
    """One process, and a line of the file."""
    asked = {"model": job.model, "layer": job.layer, "way": way, "slices": job.slices, "folder": str(folder)}
    done = subprocess.run([sys.executable, str(CHILD), json.dumps(asked)], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{job.name}, {way}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return
    found = json.loads(done.stdout.splitlines()[-1])
    with KEPT.open("a", encoding="utf-8") as file:
        print(json.dumps({"job": job.name, "way": way, "round": number, **found}), file=file)
    print(f"{job.name}, {way}, round {number + 1}: {found['wall']:.2f} s", file=sys.stderr, flush=True)


def _known() -> dict[tuple[str, str, int], dict[str, Any]]:
    lines = KEPT.read_text(encoding="utf-8").splitlines() if KEPT.exists() else []
    rows = map(json.loads, lines)
    return {(row["job"], row["way"], row["round"]): row for row in rows}


def _table(job: Job) -> Table:
    """Medians over rounds; ratios of wall time are those within a round, since others may use the machine."""
    table = Table(
        job.name[0].upper() + job.name[1:],
        ["way", "passes, s", "user, s", "system, s", "peak MB", "passes / plain", "by"],
    )
    known = _known()
    rows = {way: [row for (name, one, _), row in known.items() if name == job.name and one == way] for way in job.ways}
    plain = {row["round"]: row["wall"] for row in rows[job.ways[0]]}
    for way, found in rows.items():
        if not found:
            table.add(way, *["-"] * 5, "did not run")
            continue
        ratios = [row["wall"] / plain[row["round"]] for row in found if row["round"] in plain]
        middle = {key: statistics.median(row[key] for row in found) for key in ("wall", "user", "system", "peak_mb")}
        table.add(
            way,
            *(ratio(middle[key]) for key in ("wall", "user", "system")),
            f"{middle['peak_mb']:.0f}",
            judged(statistics.median(ratios), job.goals.get(way)) if ratios else "-",
            found[0]["by"],
        )
    return table


def _machine() -> str:
    from measure import machine

    return f"{machine()}, {', '.join(f'{name} {_version(name)}' for name in ('openvino', 'monai', 'nnunetv2'))}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
