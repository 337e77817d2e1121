"""What every reader of a volume's file refuses, in the same words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from SegHiResCAMLib.engine.errors import EngineError
from SegHiResCAMLib.engine.regular_files import referred_to

FloatArray = npt.NDArray[np.float64]
MAX_VALUES = 2**31
"""More than any scanner makes (8 GiB as float32): a header that claims more is damaged or hostile."""


def check_size(count: int, name: str) -> None:
    """Refuse what would not fit in memory, before memory is asked for. `count`: values over all channels."""
    if count > MAX_VALUES:
        message = (
            f"{name} claims {count:.3g} values, more than the {MAX_VALUES:.3g} that are read. Crop or resample it."
        )
        raise EngineError("volume-too-large", message)


def check_affine(affine: FloatArray, name: str) -> None:
    """Refuse an affine whose three axes do not span space: their unit vectors must enclose more than a sliver."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if np.isfinite(affine).all() and spacing.all() and abs(np.linalg.det(affine[:3, :3] / spacing)) > 1e-4:
            return
    raise no_place(name)


def data_file(header: Path, reference: str, name: str) -> Path:
    """The regular file beside a header in which its voxels lie.

    Raises:
        EngineError: `file-damaged` where it is missing, `reference-refused`, `file-not-regular`, `file-unreadable`.
    """
    try:
        return referred_to(header, reference, name)
    except EngineError as error:
        if error.code == "file-missing":
            raise EngineError("file-damaged", error.message) from error
        raise


def no_place(name: str) -> EngineError:
    """Where an affine is singular."""
    message = f"{name} does not say where its voxels lie: its affine is singular. Set voxel size and axes."
    return EngineError("volume-affine-singular", message)


def time_points(name: str, count: int) -> EngineError:
    """Where one volume is needed."""
    message = (
        f"{name} holds {count} volumes (time points or echoes), and one is needed. Save one of them as its own file."
    )
    return EngineError("volume-has-time-points", message)


def complex_numbers(name: str) -> EngineError:
    """Where values are not real."""
    return EngineError("volume-complex", f"{name} holds complex numbers. Save the magnitude as its own file.")


def damaged(name: str, problem: str) -> EngineError:
    """Where a file contradicts itself. `problem`: a clause without its full stop."""
    return EngineError("file-damaged", f"{name} cannot be read: {problem}. Copy or export it again.")
