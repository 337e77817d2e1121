"""How much each of a model's input images contributes to a score: for networks of several images of one patient, such as T1, T2 and FLAIR."""

from __future__ import annotations

from dataclasses import dataclass

from SegHiResCAMLib.records.map_check import Fill


@dataclass(frozen=True)
class InputShare:
    """Of one input image.

    Attributes:
        name: As the model's description has it; "image 1" and so on where it has none.
        value: Its Shapley value, in the score's units: what it adds to the score in the mean over all orders in which images can be added.
        share: The value divided by the sum of all; None where that is 0. Negative for an image that lowers the score.
        alone: The score with this image only.
        without: The score with all images but this one.
    """

    name: str
    value: float
    share: float | None
    alone: float
    without: float


@dataclass(frozen=True)
class InputShares:
    """Of all input images. The values add up to `score_all` - `score_none`.

    Attributes:
        inputs: In the model's order.
        score_all: With all images.
        score_none: With none.
        fill: What an image that is left out is replaced by, everywhere: see `engine/evidence/fills.py`.
        predictions: How many combinations of images were predicted: 2 to the power of their number.
    """

    inputs: tuple[InputShare, ...]
    score_all: float
    score_none: float
    fill: Fill
    predictions: int
