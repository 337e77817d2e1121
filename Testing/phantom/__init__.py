"""Made-up patients with kidney tumours and cysts, scanned by a made-up CT: for examples and tests; numpy, scipy and MONAI only."""

from __future__ import annotations

from phantom.sample import sample_patient
from phantom.scanner import BACKGROUND, CYST, KIDNEY, TUMOUR, Phantom, phantom

__all__ = ["BACKGROUND", "CYST", "KIDNEY", "TUMOUR", "Phantom", "phantom", "sample_patient"]
