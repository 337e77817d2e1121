"""From a file or folder the user has to a `SegmentationModel`; every file is hostile until read."""

from SegHiResCAMLib.engine.models.model import SegmentationModel
from SegHiResCAMLib.engine.models.open import FORMATS, open_model
from SegHiResCAMLib.engine.window_settings import WindowSettings

__all__ = ["FORMATS", "SegmentationModel", "WindowSettings", "open_model"]
