"""From a file or folder the user has to a `SegmentationModel`; every file is hostile until read."""

from SegHiResCAMLib.engine.models.model import SegmentationModel, WindowSettings
from SegHiResCAMLib.engine.models.open import FORMATS, open_model

__all__ = ["FORMATS", "SegmentationModel", "WindowSettings", "open_model"]
