"""Made-up patients with kidney tumours and cysts, scanned by a made-up CT: for examples and tests; numpy, scipy and MONAI only."""

from __future__ import annotations

from SegHiResCAMLib.engine.phantom.scanner import BACKGROUND, CYST, KIDNEY, TUMOUR, Phantom, phantom

__all__ = ["BACKGROUND", "CYST", "KIDNEY", "TUMOUR", "Phantom", "phantom"]
