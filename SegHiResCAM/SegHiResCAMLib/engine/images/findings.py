"""What is to be known of a volume before what is computed from it is believed: found while it is read, shown with every answer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from monai.data import MetaTensor

KEY = "findings"
"""Of `volume.meta`, which carries them."""


@dataclass(frozen=True)
class Finding:
    """Something to know of a volume.

    Attributes:
        code: A stable identifier in kebab-case, for programs.
        sentence: For the user: what it is, of which file, and what to do.
    """

    code: str
    sentence: str


def report(volume: MetaTensor, finding: Finding) -> None:
    """Warn now, and keep it with the volume."""
    warnings.warn(finding.sentence, stacklevel=2)
    volume.meta[KEY] = (*findings_of(volume), finding)


def findings_of(volume: MetaTensor) -> tuple[Finding, ...]:
    """All that were reported of a volume."""
    return tuple(volume.meta.get(KEY, ()))
