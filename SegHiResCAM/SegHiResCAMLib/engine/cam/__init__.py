"""Class activation maps of segmentation networks: formulas, the leaf that makes them cheap, layers, and exact maps over windows."""

from SegHiResCAMLib.engine.cam.activation_map import activation_map

__all__ = ["activation_map"]
