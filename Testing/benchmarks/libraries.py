"""One segment of a few images: the engine beside a plain forward pass and beside four libraries."""

from __future__ import annotations

from candidates import Case, candidates, cases
from measure import Cost, measured
from table import Table, judged, ratio

FORWARD = {"deep": 1.9, "before a 1x1 tail": 1.15}
TIME, MEMORY, FOUR = 0.6, 0.85, 0.33
"""Of grad-cam's, for one segment and for four (which it is called four times for)."""
TRIVIAL_TAIL = 0.4
"""Of both before a 1x1 tail."""
NOISE = 1.05
"""Of captum's: never more, but for noise."""

MAIN = ("forward", "ours", "grad-cam", "captum")


def tables() -> list[Table]:
    """Time and memory of every case."""
    times = Table(
        "Processor time",
        ["network", "layer", "forward, s", "ours / forward", "ours / grad-cam", "four segments / grad-cam", "ours / captum", "ours / M3d-Cam",
         "ours / torchcam"],
    )  # fmt: skip
    memory = Table(
        "Peak memory above idle",
        ["network", "layer", "MB: forward", "ours", "ours, four segments", "grad-cam", "captum", "M3d-Cam", "torchcam", "ours / grad-cam",
         "ours / captum"],
    )  # fmt: skip
    for case in cases():
        costs = _costs(case)
        tail = case.depth == "before a 1x1 tail"
        own, peer = costs["ours"], costs["grad-cam"]
        times.add(
            case.name,
            case.depth,
            f"{costs['forward'].seconds:.2f}",
            judged(own.seconds / costs["forward"].seconds, FORWARD.get(case.depth)),
            judged(own.seconds / peer.seconds, TRIVIAL_TAIL if tail else TIME),
            judged(costs["ours, four segments"].seconds / (4 * peer.seconds), FOUR),
            judged(own.seconds / costs["captum"].seconds, NOISE),
            ratio(own.seconds / costs["M3d-Cam"].seconds),
            ratio(own.seconds / costs["torchcam"].seconds),
        )
        memory.add(
            case.name,
            case.depth,
            *(
                f"{costs[name].megabytes:.0f}"
                for name in ("forward", "ours", "ours, four segments", "grad-cam", "captum", "M3d-Cam", "torchcam")
            ),
            judged(own.megabytes / peer.megabytes, TRIVIAL_TAIL if tail else MEMORY),
            judged(own.megabytes / costs["captum"].megabytes, NOISE),
        )
    return [times, memory]


def _costs(case: Case) -> dict[str, Cost]:
    runs = candidates(case)
    return measured(runs, {name: case.rounds if name in MAIN else max(1, case.rounds // 2) for name in runs})
