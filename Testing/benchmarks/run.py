"""What an explanation costs: all tables, as docs/benchmarks.md has them.

    make benchmark

A file named on the command line is written, too.
"""

from __future__ import annotations

import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from libraries import tables
from measure import machine
from volumes import memory_table, time_table

INTRODUCTION = """\
# Benchmarks: what an explanation costs

{date}, {machine}; {peers}. Written by `make benchmark`.

An explanation (Seg-HiRes-Grad CAM of one segment: forward pass, backward pass to the layer, map on the window's grid) compared with a forward pass without
gradients and with four libraries. All are run alternately in one process. Time is processor time, median over rounds, as a ratio; memory is the peak above the idle process,
from the kernel's high-water mark. Goals are in parentheses; values that miss their goal are **bold**. Values vary by about a tenth from run to run. captum and
torchcam stop at the map on the layer's grid; M3d-Cam and torchcam have no HiResCAM and compute Grad-CAM and LayerCAM. For four segments, grad-cam's time
is multiplied by four, since it has to be called for each. Nothing here was measured on a GPU.
"""


def main() -> None:
    """Measure, print, write."""
    peers = ", ".join(
        f"{name} {version(package)}"
        for name, package in (
            ("grad-cam", "grad-cam"),
            ("captum", "captum"),
            ("M3d-Cam", "medcam"),
            ("torchcam", "torchcam"),
        )
    )
    text = INTRODUCTION.format(date=f"{date.today():%d %B %Y}", machine=machine(), peers=peers)
    text = "\n".join([text, *(f"{table}\n" for table in (memory_table(), time_table(), *tables()))])
    print(text)
    for name in sys.argv[1:]:
        Path(name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
