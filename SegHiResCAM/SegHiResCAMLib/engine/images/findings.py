"""What is to be known of a volume before what is computed from it is believed: found while it is read, shown with every answer."""

from __future__ import annotations

import warnings

from monai.data import MetaTensor

from SegHiResCAMLib.records.explanation import Finding

KEY = "findings"
"""Of `volume.meta`, which carries them."""


class ReadingWarning(UserWarning):
    """Of a finding, for whoever reads a volume and explains nothing."""


def report(volume: MetaTensor, finding: Finding) -> None:
    """Warn now, and keep it with the volume."""
    warnings.warn(finding.message, ReadingWarning, stacklevel=2)
    volume.meta[KEY] = (*findings_of(volume), finding)


def findings_of(volume: MetaTensor) -> tuple[Finding, ...]:
    """All that were reported of a volume."""
    return tuple(volume.meta.get(KEY, ()))
