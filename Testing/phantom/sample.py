"""The sample patient that comes with the product: `Resources/make_sample_data.py` writes its file."""

from __future__ import annotations

from phantom.scanner import Phantom, phantom

SEED = 9001
"""Far from the seeds of training and evaluation, so that the networks have never seen this patient."""


def sample_patient() -> Phantom:
    """Its volume, before it is rounded to whole HU, and its labels."""
    return phantom(SEED, tumours=1, cysts=1)
